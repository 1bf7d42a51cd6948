"""DSS, Res2Net-101 26w4s (v1), salient objects, trained on MSRA-B.

    python tools/train.py configs/saliency/dss_r2n101_msrab.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r2n101_msrab.py CHECKPOINT --data-root /data/saliency

The paper's Table 9 has the depth 50 alone. Compare with dss_r101_msrab.py.
"""
_base_ = './dss_r101_msrab.py'

model = dict(backbone=dict(arch='res2net101_26w4s', init_cfg=dict(checkpoint='res2net_mm://res2net101_26w4s')))
