r"""DeepLabv3+, Res2Net-50 18w6s, PASCAL VOC 2012 + SBD, output stride 16.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r2n50_18w6s_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r2n50_18w6s_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

Paper Table 7: mIoU 79.1 against ResNet-50's 77.7: the gain is comparable, to deeplabv3plus_r50_voc12aug.py. Its
ImageNet weights were never published: train them and put res2net50_18w6s.pth into the folder RES2NET_MM_WEIGHTS.
"""
_base_ = './deeplabv3plus_r50_voc12aug.py'

model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='res2net50_18w6s', init_cfg=dict(checkpoint='res2net_mm://res2net50_18w6s')))
