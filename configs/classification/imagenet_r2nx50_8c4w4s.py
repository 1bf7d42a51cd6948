"""ImageNet, Res2NeXt-50 8c4w4s.

    tools/dist_train.sh configs/classification/imagenet_r2nx50_8c4w4s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2nx50_8c4w4s.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2nx50_8c4w4s.py res2net_mm://res2next50_8c4w4s

Paper Table 1: error 21.76 / 6.09 % (top-1 / top-5); ResNeXt-50, imagenet_rx50_32x4d.py, 22.61 / 6.50. The public
weights: 21.76 / 6.09 by the authors, 21.762 / 6.096 in timm's evaluation. 24.67 M parameters, 4.17 G multiply-adds.
"""
_base_ = './imagenet_rx50_32x4d.py'

model = dict(backbone=dict(arch='res2next50_8c4w4s'))
