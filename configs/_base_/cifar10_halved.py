"""CIFAR-10 halved to 16 x 16 pixels, for many runs on a CPU; the recipe of cifar10_images.py in 2 epochs.

    python tools/reproduce.py cifar10_dimensions --data data/cifar10_images

The paper has no such experiment.
"""
_base_ = './cifar10_images.py'

image_size = 16
halve = dict(type='Resize', scale=image_size, interpolation='area')
train_pipeline = [
    dict(type='LoadImageFromFile'),
    halve,
    dict(type='RandomCrop', crop_size=image_size, padding=2),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), halve, dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

iterations = 1564
param_scheduler = [
    {{_base_.warmup}},
    dict(type='MultiStepLR', by_epoch=False, milestones=[iterations // 2, iterations * 3 // 4], gamma=0.1),
]
train_cfg = dict(max_epochs=2, val_interval=2)
