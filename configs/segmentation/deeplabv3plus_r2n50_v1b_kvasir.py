"""DeepLabv3+, Res2Net-50 v1b 26w4s, polyps of Kvasir-SEG: the backbone that most papers on polyps take.

    python tools/train.py configs/segmentation/deeplabv3plus_r2n50_v1b_kvasir.py --data-root data/polyps

The paper has no such experiment. Compare with deeplabv3plus_r50_v1d_kvasir.py.
"""
_base_ = './deeplabv3plus_r50_v1d_kvasir.py'

model = dict(
    backbone=dict(arch='res2net50_v1b_26w4s', init_cfg=dict(checkpoint='res2net_mm://res2net50_v1b_26w4s')))
