"""CIFAR-10, ResNeXt-29 3c48w with SE at an eighth of the channels: the twin of cifar10_narrow_r2nx29_2c24w4s_se.py.

    python tools/train.py configs/small/cifar10_narrow_rx29_3c48w_se.py

The SE rows of the paper's Table 4 in small, see docs/evidence.md. SE has a hidden unit for every 16 channels.
"""
_base_ = './cifar10_narrow_rx29_3c48w.py'

model = dict(backbone=dict(se_reduction=16))
