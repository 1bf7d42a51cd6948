"""Faster R-CNN C4 on VOC 2007, trainval to test: 10 epochs of 16 images a step, the rate dropped after 8; 11-point mAP.
"""
_base_ = './faster_rcnn_c4.py'

data_root = 'data/VOCdevkit/'
model = dict(rpn_head=dict(anchor_generator=dict(scales=[8, 16, 32])), roi_head=dict(bbox_head=dict(num_classes=20)))
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='VOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/trainval.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        test_mode=True,
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader

val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='11points')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
param_scheduler = [dict(type='MultiStepLR', begin=0, end=10, milestones=[8], gamma=0.1)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
