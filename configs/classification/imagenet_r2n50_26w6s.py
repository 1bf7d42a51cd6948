"""ImageNet, Res2Net-50 26w6s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_26w6s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_26w6s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_26w6s.py res2net_mm://res2net50_26w6s

Paper Table 3: error 21.42 / 5.87 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. The public weights: 21.42
/ 5.87 by the authors, 21.414 / 5.880 in timm's evaluation. 37.05 M parameters, 6.30 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_26w6s'))
