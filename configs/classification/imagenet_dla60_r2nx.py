"""ImageNet, Res2NeXt-DLA-60.

    tools/dist_train.sh configs/classification/imagenet_dla60_r2nx.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_dla60_r2nx.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_dla60_r2nx.py res2net_mm://dla60_res2next

Paper Table 1: error 21.55 / 5.86 % (top-1 / top-5); DLA-X-60, imagenet_dla60x.py, 22.19 / 6.13 (against DLA's public
weights the gain is 0.22). The public weights: 21.55 / 5.86 by the authors, 21.512 / 5.856 in timm's evaluation. 17.03 M
parameters (17.33 with the projections that the official model never uses), 3.46 G multiply-adds.
"""
_base_ = './imagenet_dla60x.py'

model = dict(backbone=dict(arch='dla60_res2next'))
