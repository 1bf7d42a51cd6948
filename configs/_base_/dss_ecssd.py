"""DSS on ECSSD, 700 images to train and 300 to test: a small net from random weights, for a CPU.

    tools/misc/prepare_data.py ecssd --from images.zip ground_truth_mask.zip --to data/saliency

The paper trains on MSRA-B and tests on the whole of ECSSD, among others; no number of this is comparable with Table 9.
"""
_base_ = './dss_msrab.py'

size = (160, 160)
iterations = 1400  # 16 epochs
model = dict(
    backbone=dict(
        type='res2net_mm.Res2Net', arch='resnet50', depth=26, base_channels=16, zero_init_residual=True,
        norm_cfg=dict(requires_grad=True), norm_eval=False),
    decode_head=dict(
        in_channels=(16, 64, 128, 256, 512), channels=(16, 32, 32, 64, 64), kernel_sizes=(3, 3, 3, 3, 3),
        reduction='mean'))

resize = dict(type='Resize', scale=size, keep_ratio=False)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='res2net_mm.LoadSaliencyAnnotations'),
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), resize, {{_base_.pack_test}}]
loader = dict(batch_size=8, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(sets=('ECSSD:train.txt', ), pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(sets=('ECSSD:test.txt', ), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(by_size=True)
test_evaluator = val_evaluator
test_settings = dict(_delete_=True)
paper_table = None

train_cfg = dict(max_iters=iterations, val_interval=iterations)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01), clip_grad=dict(max_norm=10),
    accumulative_counts=1,
    # They start at N(0, 0.01), too small for a rate that suits the rest to change them in so few steps.
    paramwise_cfg=dict(_delete_=True, custom_keys={layer: dict(lr_mult=20) for layer in ('score', 'merge', 'fuse')}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=iterations, T_max=iterations - 100, eta_min=1e-6),
]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=200, save_best=None, max_keep_ckpts=1))
randomness = dict(seed=0)
