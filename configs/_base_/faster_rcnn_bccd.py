"""Faster R-CNN with a small net on the blood cells of BCCD: 292 images to train, 72 to test, at 256 x 192.

    tools/misc/prepare_data.py bccd --from BCCD_Dataset --to data/bccd

The paper has no such experiment. From random weights, 16 epochs, for a CPU; the rest as
small/demo_faster_rcnn_r2n26_shapes.py.
"""
_base_ = '../small/demo_faster_rcnn_r2n26_shapes.py'

data_root = 'data/bccd/'
classes = ('red blood cell', 'white blood cell', 'platelet')
size = (256, 192)
iterations = 600
model = dict(
    backbone=dict(arch='resnet50'),
    roi_head=dict(bbox_head=dict(num_classes=len(classes))))

resize = dict(type='Resize', scale=size, keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    resize,
    dict(type='RandomFlip', prob=0.5, direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data = dict(data_root=data_root, metainfo=dict(classes=classes))
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(pipeline=train_pipeline, **data))
val_dataloader = dict(**loader, dataset=dict(pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(max_iters=iterations, val_interval=iterations)
default_hooks = dict(checkpoint=dict(interval=200, max_keep_ckpts=1, save_best=None))
