"""ImageNet, ResNet-50 v1d, 300 epochs: the twin of imagenet_r2n50_v1b.py.

    tools/dist_train.sh configs/classification/imagenet_r50_v1d.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r50_v1d.py --auto-scale-lr

Not in the paper; the recipe is _base_/imagenet_modern.py. 25.58 M parameters, 4.33 G multiply-adds.
"""
_base_ = '../_base_/imagenet_modern.py'

model = dict(
    backbone=dict(type='res2net_mm.Res2Net', arch='resnet50', deep_stem=True, avg_down=True, out_indices=(3, )))
