"""CIFAR-100: the recipe of the paper's Table 4; cifar100_*.py add the backbone.

    python tools/train.py configs/classification/cifar100_r2nx29_6c24w4s.py

The paper names none. The authors say: learning rate 0.05, weight decay 5e-4, batch 64, images normalised with the mean
and deviation of ImageNet. The rest is ResNeXt's for CIFAR: SGD with Nesterov momentum 0.9, 300 epochs, the learning
rate divided by 10 after 150 and 225, crops of 32 from images padded by 4, flips. tools/reproduce.py tests the last
epoch. mmpretrain fetches the data into data/cifar100 if that folder exists and is empty.
"""
_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py', 'mmpretrain::_base_/default_runtime.py']

data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # the images are RGB already
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=1024, loss=dict(type='CrossEntropyLoss')))

loader = dict(batch_size=64, pin_memory=True, persistent_workers=True, collate_fn=dict(type='default_collate'))
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader

optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[150, 225], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy/top1'))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
