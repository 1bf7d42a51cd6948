"""One shape in an image of 64 x 64 pixels, of any size between 5 and 40 pixels: which of four shapes is it?

    python tools/misc/evidence.py

The paper has no such experiment. The images are generated (res2net_mm/reproduction/evidence.py): 2400 to train, 2000 to
test.
"""
_base_ = './small_images.py'

data_root = 'work_dirs/evidence/data/sizes'
classes = ('cross', 'disc', 'square', 'triangle')
image_size = 64
model = dict(head=dict(num_classes=len(classes)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
data = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **data))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=10)
