"""CIFAR-10, ResNeXt-29 3c48w at an eighth of the channels: the twin of cifar10_narrow_r2nx29_2c24w4s.py.

    python tools/train.py configs/small/cifar10_narrow_rx29_3c48w.py

The paper's Table 4 in small, see docs/evidence.md. 0.15 M parameters and 22 M multiply-adds.
"""
_base_ = '../_base_/cifar10_images.py'

model = dict(
    backbone=dict(type='res2net_mm.CifarRes2NeXt', base_channels=8, groups=3, base_width=48, scales=1,
                  out_indices=(2, )),
    head=dict(in_channels=128))
