"""SimpleBaseline, ResNet-101, COCO keypoints, 256x192: the twin of simplebaseline_r2n101_coco.py.

    tools/dist_train.sh configs/pose/simplebaseline_r101_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r101_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r101_coco.py CHECKPOINT --setting detected_boxes   # or gt_boxes

Paper Table 10: AP 71.4, on detected boxes; nobody has published it on ground-truth boxes. Compare with 72.2 on detected
boxes of simplebaseline_r2n101_coco.py.
"""
_base_ = './simplebaseline_r50_coco.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
