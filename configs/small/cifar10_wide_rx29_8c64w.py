"""CIFAR-10, ResNeXt-29 8c64w at all of the paper's channels: the twin of cifar10_wide_r2nx29_6c24w4s.py, for a GPU.

    python tools/misc/evidence.py cifar10_wide --data cifar10=data/cifar10_images
    python tools/train.py configs/small/cifar10_wide_rx29_8c64w.py

The paper's Table 4 on other classes and in 4 epochs of its 300, see docs/evidence.md. 34.4 M parameters.
"""
_base_ = '../_base_/cifar10_images.py'

model = dict(backbone=dict(type='res2net_mm.CifarRes2NeXt', groups=8, base_width=64, scales=1, out_indices=(2, )))
train_dataloader = dict(num_workers=8)
