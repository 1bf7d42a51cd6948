"""ImageNet, Res2Net-50 48w2s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_48w2s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_48w2s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_48w2s.py res2net_mm://res2net50_48w2s

Paper Table 3: error 22.68 / 6.47 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. The public weights: 22.68
/ 6.47 by the authors, 22.472 / 6.438 in timm's evaluation. 25.29 M parameters, 4.16 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_48w2s'))
