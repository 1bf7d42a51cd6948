"""ImageNet, Res2Net-50 14w8s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_14w8s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_14w8s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_14w8s.py res2net_mm://res2net50_14w8s

Paper Table 3: error 21.86 / 6.14 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. The public weights: 21.86
/ 6.14 by the authors, 21.858 / 6.148 in timm's evaluation. 25.06 M parameters, 4.18 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_14w8s'))
