r"""DeepLabv3+, ResNet-101, PASCAL VOC 2012 + SBD, output stride 16: the twin of Res2Net-101.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r101_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r101_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

Paper Table 7: mIoU 79.0. Baseline of deeplabv3plus_r2n101_26w4s_voc12aug.py: compare the gain, not the numbers.
"""
_base_ = './deeplabv3plus_r50_voc12aug.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
