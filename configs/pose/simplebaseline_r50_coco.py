"""SimpleBaseline, ResNet-50, COCO keypoints, 256x192: the recipe, and the twin of simplebaseline_r2n50_coco.py.

    tools/dist_train.sh configs/pose/simplebaseline_r50_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r50_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r50_coco.py CHECKPOINT --setting detected_boxes   # or gt_boxes

Paper Table 10: AP 70.4, on detected boxes. The official repository has 72.4 on ground-truth boxes as well. Compare
each with the same boxes of simplebaseline_r2n50_coco.py: 71.5 detected, 73.7 ground truth.
"""
_base_ = '../_base_/simplebaseline_coco.py'
