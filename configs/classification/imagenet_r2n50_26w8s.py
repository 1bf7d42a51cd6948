"""ImageNet, Res2Net-50 26w8s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_26w8s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_26w8s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_26w8s.py res2net_mm://res2net50_26w8s

Paper Table 3: error 20.80 / 5.63 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. The public weights: 20.80
/ 5.63 by the authors, 21.050 / 5.720 in timm's evaluation. There may be two releases: timm's model index has 20.81 /
5.63. 48.40 M parameters, 8.34 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_26w8s'))
