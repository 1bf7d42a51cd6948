"""CIFAR-10, ResNeXt-29 8c64w: the recipe of CIFAR-100 on the other ten classes.

    python tools/train.py configs/classification/cifar10_rx29_8c64w.py

Not in the paper; the ResNeXt paper has an error of 3.65 %.
"""
_base_ = './cifar100_rx29_8c64w.py'

data = dict(type='CIFAR10', data_root='data/cifar10')
data_preprocessor = dict(num_classes=10)
model = dict(head=dict(num_classes=10))
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = dict(dataset=data)
