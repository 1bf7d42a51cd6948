"""DeepLabv3+ with a small Res2Net-26, on generated shapes: which pixels are of a shape, whichever it is?

    tools/dev/demo_models.py demo_deeplabv3plus_r2n26     # makes the data, trains, tests and writes demo/weights
    python tools/train.py configs/small/demo_deeplabv3plus_r2n26.py

1.25 M parameters; the backbone starts from that of demo_faster_rcnn_r2n26.py, which has seen the same images.
The paper has no such experiment.
"""
_base_ = '../deeplabv3plus_r2n50_voc12aug.py'

data_root = 'work_dirs/demo_models/segments/'
classes = ('background', 'shape')
size = (192, 192)

model = dict(
    data_preprocessor=dict(size=size, test_cfg=dict(size=size)),
    backbone=dict(depth=26, base_channels=16, zero_init_residual=True,
                  init_cfg=dict(checkpoint='res2net_mm://demo_faster_rcnn_r2n26')),
    decode_head=dict(in_channels=512, channels=64, c1_in_channels=64, c1_channels=16, num_classes=len(classes)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='RandomFlip', prob=[0.33, 0.33], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='LoadAnnotations'),  # after it: the labels are compared at the image's own size
    dict(type='PackSegInputs'),
]
palette = [[0, 0, 0], [220, 60, 60]]
data = dict(_delete_=True, type='BaseSegDataset', data_root=data_root, metainfo=dict(classes=classes, palette=palette))
train_dataloader = dict(
    batch_size=8, num_workers=2,
    dataset=dict(data_prefix=dict(img_path='images/train', seg_map_path='masks/train'), img_suffix='.png',
                 pipeline=train_pipeline, **data))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(data_prefix=dict(img_path='images/val', seg_map_path='masks/val'), img_suffix='.png',
                 pipeline=test_pipeline, **data))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=400, val_interval=200)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, eta_min=1e-5),
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
randomness = dict(seed=0)
