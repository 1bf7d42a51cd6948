"""ImageNet, InceptionV3 at 299 pixels: what the paper compares Res2Net-50-299 with.

    tools/dist_train.sh configs/classification/imagenet_inception_v3.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_inception_v3.py --auto-scale-lr

Paper Table 1: error 22.55 / 6.44 % (top-1 / top-5), torchvision's number, from another recipe and with an auxiliary
classifier in training; here it has the recipe of imagenet_r2n50_26w4s_299.py and none. 23.83 M parameters, 5.71 G
multiply-adds.
"""
_base_ = '../_base_/imagenet_299.py'

model = dict(
    backbone=dict(type='InceptionV3'),  # ends in its own classifier
    neck=None,
    head=dict(_delete_=True, type='ClsHead', loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000)))
