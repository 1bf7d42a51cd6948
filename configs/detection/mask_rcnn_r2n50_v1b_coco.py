"""Mask R-CNN, Res2Net-50 26w4s v1b, FPN, COCO 2x.

    python tools/train.py configs/detection/mask_rcnn_r2n50_v1b_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r2n50_v1b_coco.py 8

The paper has no v1b (deep stem, pooled shortcuts, longer ImageNet training): compare with mask_rcnn_r50_v1d_coco.py.
"""
_base_ = './mask_rcnn_r50_coco.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net',
        arch='res2net50_v1b_26w4s',
        init_cfg=dict(checkpoint='res2net_mm://res2net50_v1b_26w4s')))
