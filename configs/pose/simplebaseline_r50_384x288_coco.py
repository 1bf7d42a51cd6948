"""SimpleBaseline, ResNet-50, COCO keypoints, 384x288: the twin of simplebaseline_r2n50_384x288_coco.py.

    tools/dist_train.sh configs/pose/simplebaseline_r50_384x288_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r50_384x288_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r50_384x288_coco.py CHECKPOINT --setting gt_boxes

The paper has 256x192 only (Table 10). SimpleBaseline's own repository has AP 72.2 on detected boxes.
"""
_base_ = '../_base_/simplebaseline_384x288_coco.py'
