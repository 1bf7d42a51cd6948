"""ImageNet, ResNet-50: the twin of imagenet_r2n50_*.py.

    tools/dist_train.sh configs/classification/imagenet_r50.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r50.py --auto-scale-lr

Paper Tables 1 and 3: error 23.85 / 7.13 % (top-1 / top-5), torchvision's number, without label smoothing; compare with
the option in _base_/imagenet_bs256.py. 25.56 M parameters, 4.09 G multiply-adds.
"""
_base_ = '../_base_/imagenet_bs256.py'

model = dict(
    backbone=dict(type='ResNet', depth=50, out_indices=(3, ), zero_init_residual=False))  # as torchvision starts
