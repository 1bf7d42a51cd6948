"""SimpleBaseline, Res2Net-50 26w4s v1b, COCO keypoints, 256x192.

    tools/dist_train.sh configs/pose/simplebaseline_r2n50_v1b_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r2n50_v1b_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r2n50_v1b_coco.py CHECKPOINT --setting detected_boxes

The paper has v1 only. The official repository: AP 72.2 on detected boxes, 74.3 on ground-truth boxes (v1: 71.5, 73.7).
"""
_base_ = './simplebaseline_r50_v1d_coco.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net',
        arch='res2net50_v1b_26w4s',
        init_cfg=dict(checkpoint='res2net_mm://res2net50_v1b_26w4s')))
