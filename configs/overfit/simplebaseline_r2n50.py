"""Can simplebaseline_r2n50_coco.py learn at all? From random weights, on eight persons, until it knows them by heart.

    python tools/train.py configs/overfit/simplebaseline_r2n50.py --data-root DIR
    python tools/test.py configs/overfit/simplebaseline_r2n50.py \
        work_dirs/simplebaseline_r2n50/iter_100.pth --data-root DIR

The paper has no such experiment.
"""
_base_ = '../simplebaseline_r2n50_coco.py'

persons = [0, 2, 6, 10, 13, 19, 39, 78]  # positions in the annotations: large, with 14 or more keypoints labelled
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
    batch_size=len(persons),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(pipeline=train_pipeline, indices=persons))
# The metric takes its truth from the dataset, the chosen persons alone, if it is given no annotation file; with
# test_mode the dataset would pass it the whole file behind our back.
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
