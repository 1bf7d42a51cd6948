"""ImageNet, Res2Net-50 26w4s v1b, 300 epochs.

    tools/dist_train.sh configs/classification/imagenet_r2n50_v1b.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_v1b.py --auto-scale-lr
    python tools/test.py configs/classification/imagenet_r2n50_v1b.py res2net_mm://res2net50_v1b_26w4s

The paper has v1 only. The recipe that the public weights were trained with is not published; _base_/imagenet_modern.py
is what the authors say comes near. The public weights: 19.73 / 4.96 by the authors, 19.720 / 4.972 in timm's
evaluation. 25.72 M parameters, 4.50 G multiply-adds.
"""
_base_ = './imagenet_r50_v1d.py'

model = dict(backbone=dict(arch='res2net50_v1b_26w4s'))
