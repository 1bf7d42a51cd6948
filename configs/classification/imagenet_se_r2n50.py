"""ImageNet, SE-Res2Net-50 26w4s.

    tools/dist_train.sh configs/classification/imagenet_se_r2n50.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_se_r2n50.py --auto-scale-lr

Paper Table 1: error 21.56 / 5.94 % (top-1 / top-5); SENet-50, imagenet_se_r50.py, 23.24 / 6.69. The paper does not say
the reduction of the squeeze-and-excitation: 16, as in SENet. Its weights are not public. 28.23 M parameters, 4.26 G
multiply-adds.
"""
_base_ = './imagenet_se_r50.py'

model = dict(backbone=dict(arch='se_res2net50_26w4s'))
