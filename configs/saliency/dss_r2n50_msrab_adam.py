"""DSS, Res2Net-50 26w4s (v1), trained on MSRA-B with Adam, the authors' practical recipe for salient objects.

    python tools/train.py configs/saliency/dss_r2n50_msrab_adam.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r2n50_msrab_adam.py CHECKPOINT --data-root /data/saliency

The paper's Table 9 has another recipe, dss_r2n50_msrab.py. Compare with dss_r50_msrab_adam.py.
"""
_base_ = './dss_r50_msrab_adam.py'

model = dict(backbone=dict(arch='res2net50_26w4s', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
