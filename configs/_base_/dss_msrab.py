"""DSS, salient objects, trained on MSRA-B: the recipe of DSS's public code, for Table 9; dss_*.py add the backbone.

The paper says no more than DSS. Its code: 12,000 updates by SGD, each from 10 images of their own size, one at a time;
learning rate 1e-8 for a loss summed over pixels, a tenth of it from update 7500, twice for biases, a tenth for the 1×1
convolutions that make and merge maps; momentum 0.9, weight decay 5e-4; mirrored images; batch norms frozen; stage 4
dilated instead of strided. It starts from ResNet-101 in caffe's style and BGR; here it is torchvision's style and RGB,
which the weights were trained with. mmengine counts an iteration per batch, not per update, so all numbers of
iterations are ten times as large, and base_batch_size counts the images of one iteration.

The data lie as res2net_mm/datasets/saliency_folders.py says, with the lists train.txt and val.txt (2500 and 500 names)
in MSRA-B's folder; tools/misc/saliency_data.py checks them. HKU-IS is taken whole: for a part of it set
test_dataloader.dataset.sets="['HKU-IS:test.txt']".
"""
_base_ = './mmseg_runtime.py'

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=1),  # images keep their size; in a batch of several they are padded to the largest
    backbone=dict(
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=('stem', 0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True),
    decode_head=dict(type='res2net_mm.DSSHead', in_channels=(64, 256, 512, 1024, 2048)),
    test_cfg=dict(mode='whole'))

data_root = 'data/saliency'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='res2net_mm.LoadSaliencyAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
pack_test = dict(  # the metric reads the masks; it wants their paths, and the set
    type='PackSegInputs',
    meta_keys=('img_path', 'seg_map_path', 'set_name', 'ori_shape', 'img_shape', 'scale_factor', 'flip'))
test_pipeline = [dict(type='LoadImageFromFile'), pack_test]
loader = dict(batch_size=1, num_workers=4, persistent_workers=True)
train_dataloader = dict(
    **loader,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='res2net_mm.SaliencyDataset', sets=('MSRA-B:train.txt', ), data_root=data_root, pipeline=train_pipeline))
tested = dict(type='res2net_mm.SaliencyDataset', data_root=data_root, pipeline=test_pipeline, test_mode=True)
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(sets=('MSRA-B:val.txt', ), **tested))
test_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(sets=('ECSSD', 'PASCAL-S', 'HKU-IS', 'DUT-OMRON'), **tested))
val_evaluator = dict(type='res2net_mm.SaliencyMetric')
test_evaluator = val_evaluator
paper_table = 'table9'  # tools/test.py prints it beside the results
test_settings = dict(  # one set alone
    ecssd=dict(test_dataloader=dict(dataset=dict(sets=('ECSSD', )))),
    pascal_s=dict(test_dataloader=dict(dataset=dict(sets=('PASCAL-S', )))),
    hku_is=dict(test_dataloader=dict(dataset=dict(sets=('HKU-IS', )))),
    dut_omron=dict(test_dataloader=dict(dataset=dict(sets=('DUT-OMRON', )))))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=120000, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-8, momentum=0.9, weight_decay=5e-4),
    accumulative_counts=10,
    paramwise_cfg=dict(
        bias_lr_mult=2,
        custom_keys={
            f'{layer}.{kind}': dict(lr_mult=factor)
            for layer in ('score', 'merge', 'fuse') for kind, factor in (('weight', 0.1), ('bias', 0.2))
        }))
param_scheduler = [dict(type='MultiStepLR', milestones=[75000], gamma=0.1, begin=0, end=120000, by_epoch=False)]
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss'), dict(type='res2net_mm.RefuseTestImages')]
auto_scale_lr = dict(enable=False, base_batch_size=1)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=10000, save_best='msra_b/f_measure', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
