"""DeepLabv3+ for polyps, Kvasir-SEG at 352 x 352: 880 images to train, 120 to test; deeplabv3plus_*.py add backbones.

    tools/misc/prepare_data.py kvasir --from kvasir-seg.zip --to data/polyps

The paper has no such experiment. As is usual for polyps: images of 352 x 352 whatever their shape, scaled by 0.75 to
1.25 in training, Adam with a learning rate of 1e-4, batch 16; one map from 0 to 1, whose Dice and IoU are means over
256 thresholds at the size of the image (res2net_mm.SaliencyMetric).
"""
_base_ = './deeplabv3plus_voc12aug.py'

size = (352, 352)
iterations = 2200  # 40 epochs
data_preprocessor = dict(size=size, test_cfg=dict(size=size))
model = dict(
    data_preprocessor=data_preprocessor,
    decode_head=dict(
        num_classes=2, out_channels=1, threshold=0.5, loss_decode=dict(use_sigmoid=True)))

data_root = 'data/polyps'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='res2net_mm.LoadSaliencyAnnotations'),
    dict(type='Resize', scale=size, keep_ratio=False),
    dict(type='RandomResize', scale=size, ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=size),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackSegInputs'),
]
pack_test = dict(  # the metric reads the masks; it wants their paths, and the set
    type='PackSegInputs',
    meta_keys=('img_path', 'seg_map_path', 'set_name', 'ori_shape', 'img_shape', 'scale_factor', 'flip'))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=size, keep_ratio=False), pack_test]
data = dict(type='res2net_mm.SaliencyDataset', data_root=data_root)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(_delete_=True, sets=('Kvasir-SEG:train.txt', ), pipeline=train_pipeline, **data))
val_dataloader = dict(
    batch_size=8,
    dataset=dict(_delete_=True, sets=('Kvasir-SEG:val.txt', ), pipeline=test_pipeline, test_mode=True, **data))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='res2net_mm.SaliencyMetric', by_size=True)
test_evaluator = val_evaluator

train_cfg = dict(max_iters=iterations, val_interval=iterations // 10)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=iterations, by_epoch=False)]
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss'), dict(type='res2net_mm.RefuseTestImages')]
# val.txt is the test set, so that no checkpoint is chosen by it: the last one counts.
default_hooks = dict(checkpoint=dict(interval=iterations // 10, save_best=None))
