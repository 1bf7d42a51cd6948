"""ImageNet, SENet-50: the twin of imagenet_se_r2n50.py.

    tools/dist_train.sh configs/classification/imagenet_se_r50.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_se_r50.py --auto-scale-lr

Paper Table 1: error 23.24 / 6.69 % (top-1 / top-5). 28.09 M parameters, 4.09 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='se_resnet50'))
