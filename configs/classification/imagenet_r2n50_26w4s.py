"""ImageNet, Res2Net-50 26w4s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_26w4s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_26w4s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_26w4s.py res2net_mm://res2net50_26w4s

Paper Tables 1 and 3: error 22.01 / 6.15 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. The public
weights: 22.01 / 6.15 by the authors, 22.006 / 6.140 in timm's evaluation. 25.70 M parameters, 4.26 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net'))
