"""DSS on MSRA-B with the recipe that the authors of Res2Net published for PoolNet with Res2Net-50, not for DSS: Adam.

24 epochs, learning rate 5e-5, a tenth of it from epoch 16, weight decay 5e-4, 10 images an update, one rate for all
layers. Faster to good maps than the original's SGD, and not comparable with the paper's numbers.
"""
_base_ = './dss_msrab.py'

train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=24, val_interval=2)
train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=5e-5, weight_decay=5e-4), paramwise_cfg=None)
param_scheduler = [dict(type='MultiStepLR', milestones=[15], gamma=0.1, begin=0, end=24, by_epoch=True)]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=2))
log_processor = dict(by_epoch=True)
