"""CIFAR-100, ResNeXt-29 8c64w: the twin of cifar100_r2nx29_*.py.

    python tools/train.py configs/classification/cifar100_rx29_8c64w.py

Paper Table 4: top-1 error 17.90 %, 34.4 M parameters (34.46 here: published figures do not count batch norms,
docs/complexity.md). The ResNeXt paper has 17.77.
"""
_base_ = '../_base_/cifar100.py'

model = dict(backbone=dict(type='res2net_mm.CifarRes2NeXt', groups=8, base_width=64, scales=1, out_indices=(2, )))
