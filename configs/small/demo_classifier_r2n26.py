"""A classifier with a small Res2Net-26: which of four generated shapes is in an image, from 5 to 40 of its 64 pixels?

    tools/dev/demo_models.py demo_classifier_r2n26     # makes the data, trains, tests and writes demo/weights
    python tools/train.py configs/small/demo_classifier_r2n26.py

0.87 M parameters; the backbone starts from that of demo_faster_rcnn_r2n26.py. The paper has no such experiment.
"""
_base_ = './sizes_r2n26.py'

data_root = 'work_dirs/demo_models/sizes'
start = dict(type='Pretrained', checkpoint='res2net_mm://demo_faster_rcnn_r2n26')
model = dict(backbone=dict(base_channels=16, init_cfg=start), head=dict(in_channels=512))
resize = dict(type='Resize', scale=(64, 64))  # for images of other sizes than the set's
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(
    dataset=dict(data_root=data_root, pipeline=[dict(type='LoadImageFromFile'), resize, dict(type='PackInputs')]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=10)
