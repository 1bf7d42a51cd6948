"""CIFAR-10, Res2NeXt-29 6c24w4s at all of the paper's channels, for a GPU.

    python tools/misc/evidence.py cifar10_wide --data cifar10=data/cifar10_images
    python tools/train.py configs/small/cifar10_wide_r2nx29_6c24w4s.py

The paper's Table 4 on other classes and in 4 epochs of its 300, see docs/evidence.md; compare with
cifar10_wide_rx29_8c64w.py, whose multiply-adds are 36 % more. 24.3 M parameters.
"""
_base_ = './cifar10_wide_rx29_8c64w.py'

model = dict(backbone=dict(groups=6, base_width=24, scales=4))
