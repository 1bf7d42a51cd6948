"""SimpleBaseline, Res2Net-101 26w4s (v1), COCO keypoints, 384x288.

    tools/dist_train.sh configs/pose/simplebaseline_r2n101_384x288_coco.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/pose/simplebaseline_r2n101_384x288_coco.py --auto-scale-lr
    python tools/test.py configs/pose/simplebaseline_r2n101_384x288_coco.py CHECKPOINT --setting gt_boxes

The paper has 256x192 only. Compare with simplebaseline_r101_384x288_coco.py, on the same boxes.
"""
_base_ = './simplebaseline_r101_384x288_coco.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net101_26w4s')))
