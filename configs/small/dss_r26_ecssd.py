"""DSS, ResNet-26 of 16 channels, salient objects of ECSSD: the twin of dss_r2n26_ecssd.py.

    python tools/train.py configs/small/dss_r26_ecssd.py --data-root data/saliency

The paper's Table 9 in small, see docs/evidence.md.
"""
_base_ = '../_base_/dss_ecssd.py'
