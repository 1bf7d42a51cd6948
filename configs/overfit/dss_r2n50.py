"""DSS with Res2Net-50 learns six images by heart, from random weights: a check of the whole chain.

    python tools/train.py configs/overfit/dss_r2n50.py --data-root SALIENCY --work-dir OUT
    python tools/test.py configs/overfit/dss_r2n50.py OUT/iter_100.pth --data-root SALIENCY

It is tested on the images that it was trained on: F should be 0.95 and more, MAE 0.04 and less. Measured 2026-11-23 on
images and masks made of COCO's, with one thread of a busy x86-64 CPU: the loss falls from 4.16 to 0.367, F is 0.978 and
MAE 0.030, after 11.8 minutes (10.4 of processor time). Other images: set `images`. The paper has no such experiment.
"""
_base_ = '../saliency/dss_r2n50_msrab.py'

images = [0, 5, 8, 21, 25, 38]  # positions in the folder of MSRA-B; large objects, few holes
size = (96, 96)
iterations = 100
dataset = dict(sets=('MSRA-B', ), indices=images)

model = dict(
    backbone=dict(
        norm_cfg=dict(requires_grad=True), norm_eval=False, zero_init_residual=True, init_cfg=None),
    decode_head=dict(reduction='mean'))

resize = dict(type='Resize', scale=size, keep_ratio=False)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='res2net_mm.LoadSaliencyAnnotations'),
    resize,
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), resize, {{_base_.pack_test}}]
# All images are in every batch, so that batch norm's running statistics become those of the batch.
train_dataloader = dict(
    batch_size=6, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=iterations, val_interval=iterations)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01), clip_grad=dict(max_norm=10),
    accumulative_counts=1,
    # They start at N(0, 0.01), too small for a rate that suits the rest to change them in so few steps.
    paramwise_cfg=dict(_delete_=True, custom_keys={layer: dict(lr_mult=20) for layer in ('score', 'merge', 'fuse')}))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=10),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=10, end=iterations, T_max=iterations - 10, eta_min=1e-6),
]
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]  # and nothing against testing on what was trained on
default_hooks = dict(checkpoint=dict(interval=iterations // 2, save_best=None), logger=dict(interval=5))
randomness = dict(seed=0)
