"""DSS, ResNet-50, trained on MSRA-B with Adam: the twin of dss_r2n50_msrab_adam.py.

    python tools/train.py configs/saliency/dss_r50_msrab_adam.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r50_msrab_adam.py CHECKPOINT --data-root /data/saliency

The paper's Table 9 has another recipe, dss_r50_msrab.py.
"""
_base_ = '../_base_/dss_msrab_adam.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
