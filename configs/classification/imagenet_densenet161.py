"""ImageNet, DenseNet-161.

    tools/dist_train.sh configs/classification/imagenet_densenet161.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_densenet161.py --auto-scale-lr

Paper Table 2: error 22.35 / 6.20 % (top-1 / top-5), torchvision's number, without label smoothing; ResNet-101 22.63 /
6.44, Res2Net-101 20.81 / 5.57. 28.68 M parameters, 7.73 G multiply-adds.
"""
_base_ = '../_base_/imagenet_bs256.py'

model = dict(
    backbone=dict(type='DenseNet', arch='161', init_cfg=dict(type='Kaiming', layer='Conv2d')),  # mmpretrain has none
    head=dict(in_channels=2208))
