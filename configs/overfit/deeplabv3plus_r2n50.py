"""Does it learn at all? DeepLabv3+ with Res2Net-50, from random weights, trained and tested on the same four images.

    python tools/train.py configs/overfit/deeplabv3plus_r2n50.py --data-root VOC2012 --work-dir OUT
    python tools/test.py configs/overfit/deeplabv3plus_r2n50.py OUT/iter_100.pth --data-root VOC2012

Measured 2026-11-23 on one thread of an x86-64 CPU, in 3.8 minutes of CPU time: the loss falls from 3.05 to 0.079, and
mIoU on these images (the mean over the six classes in them) is 92.0. Far less means that something is miswired.

More images, for a GPU: --cfg-options {train,val,test}_dataloader.dataset.indices=32 train_cfg.max_iters=800 takes the
first 32, four at a time; the learning rate follows. The paper has no such experiment.
"""
_base_ = '../deeplabv3plus_r2n50_voc12aug.py'

indices = [4, 10, 11, 29]  # lines of train.txt, from 0
size = (129, 129)

data_preprocessor = dict(size=size, test_cfg=dict(size=size))
model = dict(
    data_preprocessor=data_preprocessor, backbone=dict(init_cfg=None), decode_head=dict(dropout_ratio=0))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='LoadAnnotations'),  # after Resize: predictions are enlarged, and judged at the image's own size
    dict(type='PackSegInputs'),
]
dataset = dict(
    type='PascalVOCDataset',
    data_root='data/VOCdevkit/VOC2012',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/train.txt',
    indices=indices)
train_dataloader = dict(
    batch_size=4, num_workers=1, dataset=dict(_delete_=True, pipeline=train_pipeline, **dataset))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=100, val_interval=100)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10),
    dict(type='PolyLR', power=0.9, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=100, save_best=None), logger=dict(interval=5))
randomness = dict(seed=0)
