"""CIFAR-10, Res2NeXt-29 6c24w4s.

    python tools/train.py configs/classification/cifar10_r2nx29_6c24w4s.py

Not in the paper, whose Table 4 is CIFAR-100; compare with cifar10_rx29_8c64w.py.
"""
_base_ = './cifar10_rx29_8c64w.py'

model = dict(backbone=dict(groups=6, base_width=24, scales=4))
