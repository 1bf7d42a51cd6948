"""CIFAR-10, Res2NeXt-29 2c24w4s with SE at an eighth of the channels.

    python tools/train.py configs/small/cifar10_narrow_r2nx29_2c24w4s_se.py

The SE rows of the paper's Table 4 in small, see docs/evidence.md; compare with cifar10_narrow_rx29_3c48w_se.py.
"""
_base_ = './cifar10_narrow_rx29_3c48w_se.py'

model = dict(backbone=dict(groups=2, base_width=24, scales=4))
