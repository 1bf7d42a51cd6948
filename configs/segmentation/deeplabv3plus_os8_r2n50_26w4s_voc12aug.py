r"""DeepLabv3+, Res2Net-50 26w4s, PASCAL VOC 2012 + SBD, output stride 8.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_os8_r2n50_26w4s_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_os8_r2n50_26w4s_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

The paper has output stride 16 alone (Table 7); compare with deeplabv3plus_os8_r50_voc12aug.py.
"""
_base_ = './deeplabv3plus_os8_r50_voc12aug.py'

model = dict(backbone=dict(type='res2net_mm.Res2Net', init_cfg=dict(checkpoint='res2net_mm://res2net50_26w4s')))
