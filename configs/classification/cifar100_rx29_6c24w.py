"""CIFAR-100, ResNeXt-29 6c24w, which has scale 1: where the curves of the paper's Figure 5 start.

    python tools/reproduce.py fig5 --data data/cifar100
    python tools/train.py configs/classification/cifar100_rx29_6c24w.py

The first trains this one and its 15 changes of scale, cardinality or depth, and draws them. The paper has no readable
number for any; 6.98 M parameters here without batch norms. It does not name the width, which is Table 4's.
"""
_base_ = './cifar100_rx29_8c64w.py'

model = dict(backbone=dict(groups=6, base_width=24))
