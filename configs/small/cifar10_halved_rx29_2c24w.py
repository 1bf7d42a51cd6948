"""CIFAR-10 at 16 x 16, ResNeXt-29 2c24w at an eighth of the channels: where Figure 5 of docs/evidence.md starts.

    python tools/reproduce.py cifar10_dimensions --data data/cifar10_images
    python tools/train.py configs/small/cifar10_halved_rx29_2c24w.py

The first trains this one and its changes of scale, cardinality and depth. The paper's Figure 5 has CIFAR-100 at
32 x 32, 6c24w and all channels.
"""
_base_ = '../_base_/cifar10_halved.py'

backbone = dict(
    type='res2net_mm.CifarRes2NeXt', base_channels=8, groups=2, base_width=24, scales=1, out_indices=(2, ))
model = dict(backbone=backbone, head=dict(in_channels=128))
