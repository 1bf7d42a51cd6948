"""ImageNet, bLRes2Net-50 26w4s.

    tools/dist_train.sh configs/classification/imagenet_bl_r2n50.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_bl_r2n50.py --auto-scale-lr

Paper Table 1: error 21.68 / 6.00 % (top-1 / top-5); bLResNet-50, imagenet_bl_r50.py, 22.41 top-1. The paper does not
say how wide the little branches are: res2net_mm/models/backbones/bl_res2net.py says what is built. Its weights are not
public. 26.85 M parameters, 2.99 G multiply-adds.
"""
_base_ = './imagenet_bl_r50.py'

model = dict(backbone=dict(scales=4, base_width=26))
