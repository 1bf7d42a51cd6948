"""CIFAR-100, Res2NeXt-29 6c24w4s.

    python tools/train.py configs/classification/cifar100_r2nx29_6c24w4s.py

Paper Table 4: top-1 error 16.98 %, 24.3 M parameters (24.30 here: published figures do not count batch norms,
docs/complexity.md); ResNeXt-29, cifar100_rx29_8c64w.py, 17.90 % with 34.4 M.
"""
_base_ = './cifar100_rx29_8c64w.py'

model = dict(backbone=dict(groups=6, base_width=24, scales=4))
