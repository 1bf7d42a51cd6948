"""VFNet, Res2Net-101 26w4s v1b, FPN, COCO 2x with many scales.

    python tools/train.py configs/detection/vfnet_r2n101_v1b_coco.py
    tools/dist_train.sh configs/detection/vfnet_r2n101_v1b_coco.py 8
    python tools/test.py configs/detection/vfnet_r2n101_v1b_coco.py res2net_mm://vfnet_r2n101_v1b_coco

VarifocalNet's authors: box AP 49.2 (not in the paper). Twin: mmdet::vfnet/vfnet_r101_fpn_ms-2x_coco.py.
Its function (stage_pool='strided') fits their detector; to train from ImageNet weights, set stage_pool='always'.
"""
_base_ = 'mmdet::vfnet/vfnet_res2net-101_fpn_ms-2x_coco.py'

model = dict(backbone=dict(
    type='res2net_mm.Res2Net', arch='res2net101_v1b_26w4s', stage_pool='strided',
    init_cfg=dict(checkpoint='res2net_mm://res2net101_v1d_26w_4s')))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
