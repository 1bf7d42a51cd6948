"""Mask R-CNN, Res2Net-50 18w6s (v1), FPN, COCO 2x.

    python tools/train.py configs/detection/mask_rcnn_r2n50_18w6s_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r2n50_18w6s_coco.py 8

Paper Table 8: mask AP 35.7, AP50 57.5, AP75 38.1; mask_rcnn_r50_coco.py: 33.9, 55.2, 36.0. Compare the gaps.
Its ImageNet weights were never published: train them and put res2net50_18w6s.pth into the folder RES2NET_MM_WEIGHTS.
"""
_base_ = './mask_rcnn_r50_coco.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net',
        arch='res2net50_18w6s',
        init_cfg=dict(checkpoint='res2net_mm://res2net50_18w6s')))
