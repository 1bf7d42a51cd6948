"""DeepLabv3+, Res2Net-26 26w4s of 16 channels, polyps of Kvasir-SEG at 160 x 160.

    python tools/train.py configs/small/deeplabv3plus_r2n26_kvasir.py --data-root data/polyps

A small net from random weights, for a CPU, see docs/evidence.md; the paper has no such experiment. Compare with
deeplabv3plus_r26_kvasir.py.
"""
_base_ = './deeplabv3plus_r26_kvasir.py'

model = dict(backbone=dict(arch='res2net50_26w4s'))
