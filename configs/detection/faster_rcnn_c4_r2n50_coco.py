"""Faster R-CNN C4, Res2Net-50 26w4s (v1), 600 pixels, COCO: the likely recipe of the paper.

    python tools/train.py configs/detection/faster_rcnn_c4_r2n50_coco.py
    tools/dist_train.sh configs/detection/faster_rcnn_c4_r2n50_coco.py 8

Paper Tables 5 and 6: AP 33.7, AP50 53.6; AP by size 14.0 38.3 51.1, AR 45.0. Compare with faster_rcnn_c4_r50_coco.py.
"""
_base_ = './faster_rcnn_c4_r50_coco.py'

norm_cfg = dict(type='BN', requires_grad=False)
pretrained = dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')
model = dict(
    backbone=dict(type='res2net_mm.Res2Net', init_cfg=pretrained),
    roi_head=dict(
        shared_head=dict(_delete_=True, type='res2net_mm.Res2SharedHead', norm_cfg=norm_cfg, init_cfg=pretrained)))
