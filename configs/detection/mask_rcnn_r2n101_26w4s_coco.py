"""Mask R-CNN, Res2Net-101 26w4s (v1), FPN, COCO 2x.

    python tools/train.py configs/detection/mask_rcnn_r2n101_26w4s_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r2n101_26w4s_coco.py 8

The authors' repository (not in the paper): mask AP 37.1, box AP 41.8; ResNet-101: 35.5, 39.6 (mask_rcnn_r101_coco.py).
"""
_base_ = './mask_rcnn_r101_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net101_26w4s')))
