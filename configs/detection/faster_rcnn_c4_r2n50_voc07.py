"""Faster R-CNN C4, Res2Net-50 26w4s (v1), 600 pixels, VOC 2007: the likely recipe of the paper.

    python tools/train.py configs/detection/faster_rcnn_c4_r2n50_voc07.py
    tools/dist_train.sh configs/detection/faster_rcnn_c4_r2n50_voc07.py 8

Paper Table 5: mAP 74.4 (IoU 0.5). Compare with faster_rcnn_c4_r50_voc07.py.
"""
_base_ = './faster_rcnn_c4_r50_voc07.py'

norm_cfg = dict(type='BN', requires_grad=False)
pretrained = dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')
model = dict(
    backbone=dict(type='res2net_mm.Res2Net', init_cfg=pretrained),
    roi_head=dict(
        shared_head=dict(_delete_=True, type='res2net_mm.Res2SharedHead', norm_cfg=norm_cfg, init_cfg=pretrained)))
