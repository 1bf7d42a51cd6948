"""ImageNet, Res2Net-101 26w4s v1b, 300 epochs.

    tools/dist_train.sh configs/classification/imagenet_r2n101_v1b.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n101_v1b.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n101_v1b.py res2net_mm://res2net101_v1b_26w4s

The paper has v1 only. The recipe that the public weights were trained with is not published; _base_/imagenet_modern.py
is what the authors say comes near. The public weights: 18.77 / 4.64 by the authors, 18.764 / 4.654 in timm's
evaluation. 45.23 M parameters, 8.31 G multiply-adds.
"""
_base_ = './imagenet_r101_v1d.py'

model = dict(backbone=dict(arch='res2net101_v1b_26w4s'))
