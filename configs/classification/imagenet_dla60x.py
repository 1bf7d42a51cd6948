"""ImageNet, DLA-X-60: the twin of imagenet_dla60_r2nx.py.

    tools/dist_train.sh configs/classification/imagenet_dla60x.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_dla60x.py --auto-scale-lr

Paper Table 1: error 22.19 / 6.13 % (top-1 / top-5). The public weights of DLA are better than this, 21.77 / 5.98 in
timm's evaluation. 17.35 M parameters (17.65 with the projections that the official model never uses), 3.52 G
multiply-adds.
"""
_base_ = './imagenet_dla60.py'

model = dict(backbone=dict(arch='dla60x'))
