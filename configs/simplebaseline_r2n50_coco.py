"""SimpleBaseline, Res2Net-50 26w4s (v1), COCO keypoints, 256x192.

    tools/dist_train.sh configs/simplebaseline_r2n50_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/simplebaseline_r2n50_coco.py --auto-scale-lr
    python tools/test.py configs/simplebaseline_r2n50_coco.py CHECKPOINT --setting detected_boxes   # or gt_boxes

Paper Table 10: AP 73.7 against ResNet-50's 70.4, but 73.7 is on ground-truth boxes and 70.4 on detected ones. Like for
like (official repository): 71.5 against 70.4 on detected boxes, 73.7 against 72.4 on ground-truth boxes.
"""
_base_ = './pose/simplebaseline_r50_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
