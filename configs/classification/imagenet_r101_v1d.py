"""ImageNet, ResNet-101 v1d, 300 epochs: the twin of imagenet_r2n101_v1b.py.

    tools/dist_train.sh configs/classification/imagenet_r101_v1d.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r101_v1d.py --auto-scale-lr

Not in the paper; the recipe is _base_/imagenet_modern.py. 44.57 M parameters, 8.04 G multiply-adds.
"""
_base_ = './imagenet_r50_v1d.py'

model = dict(backbone=dict(arch='resnet101'))
