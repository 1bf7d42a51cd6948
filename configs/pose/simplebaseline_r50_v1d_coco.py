"""SimpleBaseline, ResNetV1d-50, COCO keypoints, 256x192: the twin of simplebaseline_r2n50_v1b_coco.py.

    tools/dist_train.sh configs/pose/simplebaseline_r50_v1d_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r50_v1d_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r50_v1d_coco.py CHECKPOINT --setting detected_boxes   # or gt_boxes

The paper has v1 only, and no number for this: deep stem and pooled shortcut, as Res2Net v1b has them.
"""
_base_ = './simplebaseline_r50_coco.py'

model = dict(backbone=dict(type='ResNetV1d', init_cfg=dict(checkpoint='mmcls://resnet50_v1d')))
