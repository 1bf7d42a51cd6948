"""ImageNet, Res2Net-DLA-60.

    tools/dist_train.sh configs/classification/imagenet_dla60_r2n.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_dla60_r2n.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_dla60_r2n.py res2net_mm://dla60_res2net

Paper Table 1: error 21.53 / 5.80 % (top-1 / top-5); DLA-60, imagenet_dla60.py, 23.32 / 6.60 (the paper's text calls the
gain 1.27, it is 1.79; against DLA's public weights 1.43). The public weights: 21.53 / 5.80 by the authors, 21.520 /
5.796 in timm's evaluation. 20.85 M parameters (21.15 with the projections that the official model never uses), 4.12 G
multiply-adds.
"""
_base_ = './imagenet_dla60.py'

model = dict(backbone=dict(arch='dla60_res2net'))
