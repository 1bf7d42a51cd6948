"""Mask R-CNN, Res2Net-50 26w4s (v1), FPN, COCO 2x.

    python tools/train.py configs/mask_rcnn_r2n50_coco.py
    tools/dist_train.sh configs/mask_rcnn_r2n50_coco.py 8

Paper Table 8: mask AP 35.6, AP50 57.6, AP75 37.6; mask_rcnn_r50_coco.py: 33.9, 55.2, 36.0. Compare the gaps.
"""
_base_ = './detection/mask_rcnn_r50_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
