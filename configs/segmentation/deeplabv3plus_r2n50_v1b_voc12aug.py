r"""DeepLabv3+, Res2Net-50 v1b 26w4s, PASCAL VOC 2012 + SBD, output stride 16.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r2n50_v1b_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r2n50_v1b_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

The paper has v1 alone; compare with deeplabv3plus_r50_v1d_voc12aug.py. The weights of v1b were trained with more than
the paper's recipe.
"""
_base_ = './deeplabv3plus_r50_v1d_voc12aug.py'

model = dict(
    backbone=dict(arch='res2net50_v1b_26w4s', init_cfg=dict(checkpoint='res2net_mm://res2net50_v1b_26w4s')))
