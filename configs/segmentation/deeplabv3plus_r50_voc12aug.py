r"""DeepLabv3+, ResNet-50, PASCAL VOC 2012 + SBD, output stride 16: the twin of the Res2Nets.

    tools/dist_train.sh configs/segmentation/deeplabv3plus_r50_voc12aug.py 8
    python tools/train.py configs/segmentation/deeplabv3plus_r50_voc12aug.py \
        --cfg-options train_dataloader.batch_size=16

Paper Table 7: mIoU 77.7. The recipe is pieced together (configs/_base_/): compare the gains of Res2Net under it, with
this file as the baseline, rather than the numbers.
"""
_base_ = '../_base_/deeplabv3plus_voc12aug.py'

model = dict(
    backbone=dict(type='ResNet', depth=50, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')))
