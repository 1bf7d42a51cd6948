"""Faster R-CNN, Res2Net-50 26w4s (v1), FPN, COCO 1x.

    python tools/train.py configs/faster_rcnn_r2n50_coco.py
    tools/dist_train.sh configs/faster_rcnn_r2n50_coco.py 8

Paper Table 5: AP 33.7 against ResNet-50's 31.1, without FPN: the gain is comparable, to faster_rcnn_r50_coco.py.
"""
_base_ = './detection/faster_rcnn_r50_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
