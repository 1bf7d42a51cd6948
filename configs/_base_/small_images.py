"""Small images, a small net and a short schedule: what the experiments without ImageNet share.

    python tools/misc/evidence.py

The paper has no such experiment. AdamW with a cosine schedule, batch 64, from random weights; digits.py and sizes.py
beside this file add the data, configs/small/*.py the backbone.
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']

data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[63.75, 63.75, 63.75], to_rgb=True)
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', in_channels=768, loss=dict(type='CrossEntropyLoss')))

loader = dict(batch_size=64, num_workers=0, persistent_workers=False, collate_fn=dict(type='default_collate'))
train_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_prefix='train'))
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_prefix='val'))
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(type='CosineAnnealingLR', convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, val_interval=100)  # and after the last epoch
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=1))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
randomness = dict(seed=0)
