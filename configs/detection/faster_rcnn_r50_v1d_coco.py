"""Faster R-CNN, ResNet-50 v1d, FPN, COCO 1x: the twin of faster_rcnn_r2n50_v1b_coco.py.

    python tools/train.py configs/detection/faster_rcnn_r50_v1d_coco.py
    tools/dist_train.sh configs/detection/faster_rcnn_r50_v1d_coco.py 8

Deep stem and pooled shortcuts, as in v1b. The paper has no v1b: compare with that twin only.
"""
_base_ = './faster_rcnn_r50_coco.py'

model = dict(  # our ResNet: mmdet's ResNetV1d would leave the stem of these weights out
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50', deep_stem=True, avg_down=True,
        init_cfg=dict(checkpoint='mmcls://resnet50_v1d')))
