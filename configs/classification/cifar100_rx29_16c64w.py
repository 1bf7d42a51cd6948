"""CIFAR-100, ResNeXt-29 16c64w.

    python tools/train.py configs/classification/cifar100_rx29_16c64w.py

Paper Table 4: top-1 error 17.31 %, 68.1 M parameters (68.15 here), quoted from the ResNeXt paper.
"""
_base_ = './cifar100_rx29_8c64w.py'

model = dict(backbone=dict(groups=16))
