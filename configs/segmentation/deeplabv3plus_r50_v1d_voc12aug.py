r"""DeepLabv3+, ResNet-50 v1d, PASCAL VOC 2012 + SBD, output stride 16: the twin of v1b.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r50_v1d_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r50_v1d_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

The paper has no v1d. mmpretrain's weights name the layers of the deep stem otherwise than mmseg's ResNetV1d, which
would start with a random stem; our ResNet takes them, or says why not.
"""
_base_ = './deeplabv3plus_r50_voc12aug.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50', deep_stem=True, avg_down=True,
        init_cfg=dict(checkpoint='mmcls://resnet50_v1d')))
