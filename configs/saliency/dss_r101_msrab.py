"""DSS, ResNet-101, salient objects, trained on MSRA-B: the twin of dss_r2n101_msrab.py.

    python tools/train.py configs/saliency/dss_r101_msrab.py --data-root /data/saliency
    python tools/test.py configs/saliency/dss_r101_msrab.py CHECKPOINT --data-root /data/saliency

The paper's Table 9 has the depth 50 alone; 101 is what the public code of DSS has beside VGG.
"""
_base_ = './dss_r50_msrab.py'

model = dict(backbone=dict(arch='resnet101', init_cfg=dict(checkpoint='torchvision://resnet101')))
