"""DSS, Res2Net-26 26w4s of 16 channels, salient objects of ECSSD.

    python tools/train.py configs/small/dss_r2n26_ecssd.py --data-root data/saliency

The paper's Table 9 in small, see docs/evidence.md; compare with dss_r26_ecssd.py.
"""
_base_ = './dss_r26_ecssd.py'

model = dict(backbone=dict(arch='res2net50_26w4s'))
