"""scikit-learn's digits, ResNet-26 of 24 channels: the twin of digits_r2n26.py.

    python tools/misc/evidence.py digits          # makes the data, and runs both with several seeds
    python tools/train.py configs/small/digits_r26.py

The paper has no such experiment. 1.98 M parameters; the multiply-adds of the two differ by less than 3 %.
"""
_base_ = '../_base_/digits.py'

model = dict(
    backbone=dict(type='res2net_mm.Res2Net', arch='resnet50', depth=26, base_channels=24, zero_init_residual=True,
                  out_indices=(3, )))
