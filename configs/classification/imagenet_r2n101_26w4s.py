"""ImageNet, Res2Net-101 26w4s.

    tools/dist_train.sh configs/classification/imagenet_r2n101_26w4s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n101_26w4s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n101_26w4s.py res2net_mm://res2net101_26w4s

Paper Table 2: error 20.81 / 5.57 % (top-1 / top-5); ResNet-101, imagenet_r101.py, 22.63 / 6.44; DenseNet-161 22.35 /
6.20. The public weights: 20.81 / 5.57 by the authors, 20.808 / 5.534 in timm's evaluation. 45.21 M parameters, 8.07 G
multiply-adds.
"""
_base_ = './imagenet_r101.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net'))
