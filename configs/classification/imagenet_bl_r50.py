"""ImageNet, bLResNet-50: the twin of imagenet_bl_r2n50.py.

    tools/dist_train.sh configs/classification/imagenet_bl_r50.py 4     # or, on one GPU or CPU:
    python tools/train.py configs/classification/imagenet_bl_r50.py --auto-scale-lr

Paper Table 1: top-1 error 22.41 %, the number of Big-Little Net's authors, from another recipe (110 epochs, cosine,
colour jitter). 26.69 M parameters, 2.86 G multiply-adds.
"""
_base_ = '../_base_/imagenet_bs256.py'

model = dict(backbone=dict(type='res2net_mm.BLRes2Net', scales=1, base_width=64, out_indices=(3, )))
