"""ImageNet, ResNet-101: the twin of imagenet_r2n101_26w4s.py.

    tools/dist_train.sh configs/classification/imagenet_r101.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r101.py --auto-scale-lr

Paper Table 2: error 22.63 / 6.44 % (top-1 / top-5), torchvision's number, without label smoothing; compare with the
option in _base_/imagenet_bs256.py. 44.55 M parameters, 7.80 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(depth=101))
