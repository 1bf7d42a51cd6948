"""DeepLabv3+, ResNet-50, polyps of Kvasir-SEG: the twin of deeplabv3plus_r2n50_kvasir.py.

    python tools/train.py configs/segmentation/deeplabv3plus_r50_kvasir.py --data-root data/polyps

The paper has no such experiment.
"""
_base_ = '../_base_/deeplabv3plus_kvasir.py'

model = dict(
    backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
