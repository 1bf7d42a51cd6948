"""ImageNet, Res2Net-50 18w6s.

    tools/dist_train.sh configs/classification/imagenet_r2n50_18w6s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_18w6s.py --auto-scale-lr

The paper has this one in Tables 7 and 8 only, without its error here, and its weights are not public: this config makes
them. ResNet-50, imagenet_r50.py: 23.85 / 7.13 % (top-1 / top-5). 25.16 M parameters, 4.18 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_18w6s'))
