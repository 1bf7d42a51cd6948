"""Mask R-CNN learns a handful of images by heart, from random weights: a check of the whole chain.

    python tools/train.py configs/overfit/mask_rcnn_r2n50.py
    python tools/test.py configs/overfit/mask_rcnn_r2n50.py work_dirs/mask_rcnn_r2n50/iter_150.pth

It is tested on the images that it was trained on: the loss should fall by 80 % and more, to a mask AP50 of 0.7 and
more. Other images: set `images`. The paper has no such experiment.
"""
_base_ = '../mask_rcnn_r2n50_coco.py'

images = [9, 23, 44, 78]  # numbers of images in the annotation file; those here hold few objects, none of them small
scale = (192, 144)
dataset = dict(
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=None,
    indices=images)

model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, zero_init_residual=True, init_cfg=None),
    train_cfg=dict(rcnn=dict(sampler=dict(num=32))))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(_delete_=True, type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=None)  # the dataset's own truth: the file holds images that are not among these
test_evaluator = val_evaluator

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=150, val_interval=150)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=5e-4, weight_decay=0.01), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=150, T_max=130, eta_min=1e-6),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=150))
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
