"""ImageNet, ResNeXt-50 32x4d: the twin of imagenet_r2nx50_8c4w4s.py.

    tools/dist_train.sh configs/classification/imagenet_rx50_32x4d.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_rx50_32x4d.py --auto-scale-lr

Paper Table 1: error 22.61 / 6.50 % (top-1 / top-5). torchvision's weights: 22.37 / 6.33 in timm's
evaluation. 25.03 M parameters, 4.23 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='resnext50_32x4d'))
