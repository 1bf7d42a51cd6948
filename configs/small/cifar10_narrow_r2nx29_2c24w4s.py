"""CIFAR-10, Res2NeXt-29 2c24w4s at an eighth of the channels.

    python tools/train.py configs/small/cifar10_narrow_r2nx29_2c24w4s.py

The paper's Table 4 in small, see docs/evidence.md. The multiply-adds of cifar10_narrow_rx29_3c48w.py are 0.9 % more.
"""
_base_ = './cifar10_narrow_rx29_3c48w.py'

model = dict(backbone=dict(groups=2, base_width=24, scales=4))
