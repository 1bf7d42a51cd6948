"""DSS, ResNet-50, salient objects, trained on MSRA-B: the twin of dss_r2n50_msrab.py.

    python tools/train.py configs/saliency/dss_r50_msrab.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r50_msrab.py CHECKPOINT --data-root /data/saliency  # --setting ecssd

Paper Table 9, F and MAE: ECSSD 0.910 0.065, PASCAL-S 0.823 0.105, HKU-IS 0.894 0.058, DUT-OMRON 0.748 0.092. What F is,
and how the maps were refined, the paper does not say: compare the gain. mmseg's ResNet hides its stem, so this is ours.
"""
_base_ = '../_base_/dss_msrab.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
