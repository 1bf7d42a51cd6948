"""Faster R-CNN with a small Res2Net-26, on generated shapes and blood cells (BCCD): the model 'demo' of our tools.

    tools/dev/demo_models.py demo_faster_rcnn_r2n26 --bccd DIR   # makes the data, trains, tests and writes demo/weights
    python tools/train.py configs/small/demo_faster_rcnn_r2n26.py

1.55 M parameters, from random weights; the paper has no such experiment.
"""
_base_ = './demo_faster_rcnn_r2n26_shapes.py'

data_root = 'work_dirs/demo_models/shapes_and_cells/'
classes = ('disc', 'square', 'triangle', 'cross', 'red blood cell', 'white blood cell', 'platelet')
data = dict(data_root=data_root, metainfo=dict(classes=classes))

model = dict(
    roi_head=dict(bbox_head=dict(fc_out_channels=128, num_classes=7)),
    test_cfg=dict(rcnn=dict(nms=dict(class_agnostic=True))))  # one box of an object, not one of each class
train_dataloader = dict(dataset=data)
val_dataloader = dict(dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
test_settings = {  # the images of one kind alone
    kind: dict(test_dataloader=dict(dataset=dict(ann_file=f'annotations/{kind}_val2017.json')),
               test_evaluator=dict(ann_file=f'{data_root}annotations/{kind}_val2017.json'))
    for kind in ('shapes', 'cells')}

train_cfg = dict(max_iters=1200, val_interval=1200)
default_hooks = dict(checkpoint=dict(interval=300))
