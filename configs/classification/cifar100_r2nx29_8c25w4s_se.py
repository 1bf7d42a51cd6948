"""CIFAR-100, Res2NeXt-29 8c25w4s with squeeze-and-excitation.

    python tools/train.py configs/classification/cifar100_r2nx29_8c25w4s_se.py

Paper Table 4: top-1 error 16.64 %, 34.0 M parameters (34.35 here: the paper does not say the reduction, and no single
one gives its four figures; 16, as in SENet). Its ResNeXt-29, cifar100_rx29_8c64w_se.py, has 16.77 % with 35.1 M.
"""
_base_ = './cifar100_rx29_8c64w_se.py'

model = dict(backbone=dict(groups=8, base_width=25, scales=4))
