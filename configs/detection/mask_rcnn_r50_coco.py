"""Mask R-CNN, ResNet-50, FPN, COCO 2x: the recipe, and the twin of mask_rcnn_r2n50_*_coco.py.

    python tools/train.py configs/detection/mask_rcnn_r50_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r50_coco.py 8

Paper Table 8: mask AP 33.9; mmdet's model zoo: 35.4.
The authors' code had the strides on the 1x1 convolutions, which costs AP: compare gaps, not levels.
"""
_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_2x_coco.py'

custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
