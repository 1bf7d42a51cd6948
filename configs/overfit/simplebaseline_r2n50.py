"""SimpleBaseline learns eight persons by heart, from random weights: a check of the whole chain.

    python tools/train.py configs/overfit/simplebaseline_r2n50.py
    python tools/test.py configs/overfit/simplebaseline_r2n50.py work_dirs/simplebaseline_r2n50/iter_100.pth

It is tested on the persons that it was trained on, in their ground-truth boxes: the loss should fall by 80 % and more,
to an AP of 0.8 and more. Measured with these commands and --data-root, a folder with 80 training images of COCO: the
loss falls from 0.00735 to 0.00002, AP is 0.890, after 9.6 minutes (3.7 of processor time) with one thread on a busy
x86-64 machine, 2026-11-23. For more persons set `persons` (None for all), and raise `iterations` and `batch_size`. The
paper has no such experiment.
"""
_base_ = '../simplebaseline_r2n50_coco.py'

# Positions among the labelled persons of the annotation file; those here are large, with 14 or more of 17 keypoints.
persons = [0, 2, 6, 10, 13, 19, 39, 78]
iterations = 100
codec = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=2)

model = dict(
    backbone=dict(init_cfg=None, zero_init_residual=True),
    head=dict(decoder=codec),
    test_cfg=dict(flip_test=False))  # it never sees anyone flipped

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
# All persons are in every batch, so that batch norm's running statistics become those of the batch.
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline, indices=persons))
# The metric takes its truth from the dataset, the chosen persons alone, if it is given no annotation file; with
# test_mode, mmpose's dataset would hand it the whole file all the same.
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=val_pipeline,
        indices=persons,
        test_mode=False))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=None)
test_evaluator = val_evaluator

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=20, T_max=iterations - 20, end=iterations, eta_min=1e-6, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(by_epoch=False, interval=iterations))
log_processor = dict(by_epoch=False, window_size=10)
randomness = dict(seed=0)
