"""DeepLabv3+, ResNet-26 of 16 channels, polyps of Kvasir-SEG at 160 x 160: the twin of deeplabv3plus_r2n26_kvasir.py.

    python tools/train.py configs/small/deeplabv3plus_r26_kvasir.py --data-root data/polyps

A small net from random weights, for a CPU, see docs/evidence.md; the paper has no such experiment.
"""
_base_ = '../_base_/deeplabv3plus_kvasir_small.py'
