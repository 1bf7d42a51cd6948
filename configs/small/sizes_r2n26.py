"""Shapes of all sizes, Res2Net-26 26w4s of 24 channels.

    python tools/misc/evidence.py sizes           # makes the data, and runs both with several seeds
    python tools/train.py configs/small/sizes_r2n26.py

The paper has no such experiment. 1.95 M parameters; the multiply-adds of sizes_r26.py are 2.5 % less.
"""
_base_ = './sizes_r26.py'

model = dict(backbone=dict(arch='res2net50_26w4s'))
