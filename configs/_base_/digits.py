"""scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, 1198 to train and 599 to test, enlarged to 32 x 32.

    python tools/misc/evidence.py

The paper has no such experiment. Images are moved by up to half a pixel of theirs, and not flipped.
"""
_base_ = './small_images.py'

data_root = 'work_dirs/evidence/data/digits'
classes = tuple('0123456789')
image_size = 32
model = dict(head=dict(num_classes=len(classes)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, interpolation='bicubic'),
    dict(type='RandomCrop', crop_size=image_size, padding=2),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, interpolation='bicubic'),
    dict(type='PackInputs'),
]
data = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **data))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **data))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=16)
