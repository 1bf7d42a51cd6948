"""ImageNet, Res2Net-50 26w4s at 299 pixels (Res2Net-50-299).

    tools/dist_train.sh configs/classification/imagenet_r2n50_26w4s_299.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_26w4s_299.py --auto-scale-lr

Paper Table 1: error 21.41 / 5.88 % (top-1 / top-5); InceptionV3, imagenet_inception_v3.py, 22.55 / 6.44. Its weights
are not public. 25.70 M parameters, 7.93 G multiply-adds.
"""
_base_ = '../_base_/imagenet_299.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', out_indices=(3, )))
