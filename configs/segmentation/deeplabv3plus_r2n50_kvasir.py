"""DeepLabv3+, Res2Net-50 26w4s, polyps of Kvasir-SEG.

    python tools/train.py configs/segmentation/deeplabv3plus_r2n50_kvasir.py --data-root data/polyps

The paper has no such experiment; docs/evidence.md has it with a small net. Compare with deeplabv3plus_r50_kvasir.py.
"""
_base_ = './deeplabv3plus_r50_kvasir.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
