"""Mask R-CNN, Res2Net-50 14w8s (v1), FPN, COCO 2x.

    python tools/train.py configs/detection/mask_rcnn_r2n50_14w8s_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r2n50_14w8s_coco.py 8

Paper Table 8: mask AP 35.3, AP50 57.0, AP75 37.5; mask_rcnn_r50_coco.py: 33.9, 55.2, 36.0. Compare the gaps.
"""
_base_ = './mask_rcnn_r50_coco.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net',
        arch='res2net50_14w8s',
        init_cfg=dict(checkpoint='res2net_mm://res2net50_14w8s')))
