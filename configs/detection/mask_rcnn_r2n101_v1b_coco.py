"""Mask R-CNN, Res2Net-101 26w4s v1b, FPN, COCO 2x: takes mmdet's published detector.

    python tools/train.py configs/detection/mask_rcnn_r2n101_v1b_coco.py
    tools/dist_train.sh configs/detection/mask_rcnn_r2n101_v1b_coco.py 8
    python tools/test.py configs/detection/mask_rcnn_r2n101_v1b_coco.py res2net_mm://mask_rcnn_r2n101_v1b_coco

mmdet's model zoo: box AP 43.6, mask AP 38.7 (not in the paper). Twin: mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py.
Its function (stage_pool='strided') fits its detectors; to train from ImageNet weights, set stage_pool='always'.
"""
_base_ = 'mmdet::res2net/mask-rcnn_res2net-101_fpn_2x_coco.py'

model = dict(backbone=dict(
    type='res2net_mm.Res2Net', arch='res2net101_v1b_26w4s', stage_pool='strided',
    init_cfg=dict(checkpoint='res2net_mm://res2net101_v1d_26w_4s')))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
