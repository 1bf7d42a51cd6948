"""DeepLabv3+ for polyps with a small net from random weights: images of 160 x 160, 12 epochs, for a CPU.

    tools/misc/prepare_data.py kvasir --from kvasir-seg.zip --to data/polyps

The paper has no such experiment.
"""
_base_ = './deeplabv3plus_kvasir.py'

size = (160, 160)
iterations = 1320
data_preprocessor = dict(size=size, test_cfg=dict(size=size))
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50', depth=26, base_channels=16, zero_init_residual=True),
    decode_head=dict(in_channels=512, channels=64, c1_in_channels=64, c1_channels=16))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='res2net_mm.LoadSaliencyAnnotations'),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=size, keep_ratio=False), {{_base_.pack_test}}]
loader = dict(batch_size=8, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=iterations, val_interval=iterations)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=iterations, T_max=iterations - 100, eta_min=1e-6),
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1))
randomness = dict(seed=0)
