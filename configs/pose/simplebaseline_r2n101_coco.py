"""SimpleBaseline, Res2Net-101 26w4s (v1), COCO keypoints, 256x192.

    tools/dist_train.sh configs/pose/simplebaseline_r2n101_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r2n101_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r2n101_coco.py CHECKPOINT --setting detected_boxes   # or gt_boxes

Paper Table 10: AP 74.4 against ResNet-101's 71.4, but 74.4 is on ground-truth boxes and 71.4 on detected ones. Like for
like (official repository): 72.2 against 71.4 on detected boxes.
"""
_base_ = './simplebaseline_r101_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net101_26w4s')))
