"""Mask R-CNN, ResNet-101, FPN, COCO 2x: the twin of mask_rcnn_r2n101_26w4s_coco.py.

    python tools/train.py configs/detection/mask_rcnn_r101_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r101_coco.py 8

The authors' repository (not in the paper): mask AP 35.5, box AP 39.6, strides on the 1x1 as in Table 8.
"""
_base_ = './mask_rcnn_r50_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
