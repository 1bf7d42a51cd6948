"""DSS, Res2Net-50 26w4s (v1), salient objects, trained on MSRA-B.

    python tools/train.py configs/saliency/dss_r2n50_msrab.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r2n50_msrab.py CHECKPOINT --data-root /data/saliency  # --setting ecssd

Paper Table 9, F and MAE: ECSSD 0.926 0.056, PASCAL-S 0.841 0.099, HKU-IS 0.905 0.050, DUT-OMRON 0.800 0.071. Compare
the gain, to dss_r50_msrab.py.
"""
_base_ = './dss_r50_msrab.py'

model = dict(backbone=dict(arch='res2net50_26w4s', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
