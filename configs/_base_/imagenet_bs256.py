"""ImageNet: the recipe of the paper's Tables 1 to 3; imagenet_*.py add the backbone.

The paper: 4 GPUs with 64 images each, SGD with momentum 0.9, weight decay 1e-4, learning rate 0.1 divided by 10 after
30, 60 and 90 of 100 epochs; random crops of 224 with flips; test on the centre crop of 224 of an image whose shorter
side is 256. Images are resized with Pillow, as torchvision does it. The released script also smooths the labels by 0.1,
which the paper does not mention; its ResNet-50, ResNet-101, DenseNet-161 and InceptionV3 are torchvision's published
numbers, without. The authors put the effect at 0.2 points. Without label smoothing:

    python tools/train.py configs/classification/imagenet_r50.py --cfg-options model.head.loss.label_smooth_val=0.0

The script keeps the epoch with the best validation error; here both that one and the last are kept, and
tools/reproduce.py tests the last. Data lie as mmpretrain's docs lay them out: data/imagenet/train and val with a folder
for each class, or with the lists meta/train.txt and meta/val.txt.
"""
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs64_pil_resize.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
]

model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=1000)))

loader = dict(pin_memory=True, persistent_workers=True, collate_fn=dict(type='default_collate'))
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1, save_best='accuracy/top1'))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
