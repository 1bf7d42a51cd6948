r"""DeepLabv3+, Res2Net-101 26w4s, PASCAL VOC 2012 + SBD, output stride 16.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r2n101_26w4s_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r2n101_26w4s_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

Paper Table 7: mIoU 80.2 against ResNet-101's 79.0: the gain is comparable, to deeplabv3plus_r101_voc12aug.py.
"""
_base_ = './deeplabv3plus_r101_voc12aug.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net101_26w4s')))
