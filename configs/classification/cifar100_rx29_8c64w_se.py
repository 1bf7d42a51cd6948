"""CIFAR-100, ResNeXt-29 8c64w with squeeze-and-excitation: the twin of cifar100_r2nx29_*_se.py.

    python tools/train.py configs/classification/cifar100_rx29_8c64w_se.py

Paper Table 4: top-1 error 16.77 %, 35.1 M parameters (34.98 here: the paper does not say the reduction; 16, as in
SENet).
"""
_base_ = './cifar100_rx29_8c64w.py'

model = dict(backbone=dict(se_reduction=16))
