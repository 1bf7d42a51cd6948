"""CIFAR-10 as folders of images, with the recipe of cifar100.py cut to 4 epochs of its 300, for a CPU.

    tools/misc/prepare_data.py cifar10 --from cifar-10-python.tar.gz --to data/cifar10_images

The learning rate is divided by 10 after a half and after three quarters of the training, as in the recipe.
"""
_base_ = './cifar100.py'

data_root = 'data/cifar10_images'
classes = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
image_size = 32
data_preprocessor = dict(num_classes=10, to_rgb=True)
model = dict(head=dict(num_classes=10))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=image_size, padding=4),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
data = dict(_delete_=True, type='CustomDataset', data_root=data_root, metainfo=dict(classes=classes))
loader = dict(num_workers=0, persistent_workers=False, pin_memory=False)
train_dataloader = dict(**loader, dataset=dict(data_prefix='train', pipeline=train_pipeline, **data))
val_dataloader = dict(**loader, dataset=dict(data_prefix='test', pipeline=test_pipeline, **data))
test_dataloader = val_dataloader

iterations = 3128
warmup = dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=100)
param_scheduler = [
    warmup,
    dict(type='MultiStepLR', by_epoch=False, milestones=[iterations // 2, iterations * 3 // 4], gamma=0.1),
]
train_cfg = dict(max_epochs=4, val_interval=4)
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss'), dict(type='res2net_mm.ChannelsLast')]
default_hooks = dict(checkpoint=dict(save_best=None))  # the last epoch is what is tested
randomness = dict(seed=0)
