"""DeepLabv3+, ResNet-50 v1d, polyps of Kvasir-SEG: the twin of deeplabv3plus_r2n50_v1b_kvasir.py.

    python tools/train.py configs/segmentation/deeplabv3plus_r50_v1d_kvasir.py --data-root data/polyps

The paper has no such experiment.
"""
_base_ = './deeplabv3plus_r50_kvasir.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50', deep_stem=True, avg_down=True,
        init_cfg=dict(checkpoint='mmcls://resnet50_v1d')))
