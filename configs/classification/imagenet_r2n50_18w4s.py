"""ImageNet, Res2Net-50 18w4s (Res2Net-50-L).

    tools/dist_train.sh configs/classification/imagenet_r2n50_18w4s.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_r2n50_18w4s.py --auto-scale-lr

Paper Table 3: error 22.92 / 6.67 % (top-1 / top-5); ResNet-50, imagenet_r50.py, 23.85 / 7.13. Its weights are not
public. 18.10 M parameters, 2.90 G multiply-adds.
"""
_base_ = './imagenet_r50.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', arch='res2net50_18w4s'))
