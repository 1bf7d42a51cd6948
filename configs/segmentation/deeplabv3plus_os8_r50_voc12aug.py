r"""DeepLabv3+, ResNet-50, PASCAL VOC 2012 + SBD, output stride 8.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_os8_r50_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_os8_r50_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

The paper has output stride 16 alone (Table 7). Here the last two stages see four times as many positions; the atrous
rates are DeepLabv3+'s for stride 8.
"""
_base_ = './deeplabv3plus_r50_voc12aug.py'

model = dict(
    backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)), decode_head=dict(dilations=(1, 12, 24, 36)))
