"""ImageNet, DLA-60: the twin of imagenet_dla60_r2n.py.

    tools/dist_train.sh configs/classification/imagenet_dla60.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_dla60.py --auto-scale-lr

Paper Table 1: error 23.32 / 6.60 % (top-1 / top-5). The public weights of DLA are better than this, 22.96 / 6.68 in
timm's evaluation. 22.04 M parameters (22.33 with the projections that the official model never uses), 4.24 G
multiply-adds.
"""
_base_ = '../_base_/imagenet_bs256.py'

model = dict(
    backbone=dict(type='res2net_mm.DLA', arch='dla60', out_indices=(3, )), head=dict(in_channels=1024))
