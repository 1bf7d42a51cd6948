"""UPerNet, Res2Net-50 26w4s (v1), ADE20K: a config of mmseg with another backbone, as for any model of any toolbox.

    python tools/train.py configs/segmentation/upernet_r2n50_ade20k.py
    tools/dist_train.sh configs/segmentation/upernet_r2n50_ade20k.py 4

The paper has no such experiment. The twin is mmseg's own config, whose ResNet-50 is v1c: mIoU 40.7 in its model zoo.
"""
_base_ = '../_base_/upernet_ade20k.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')))
