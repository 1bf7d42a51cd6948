"""scikit-learn's handwritten digits as they are, 8 x 8 pixels, for nets that need no more.

    python tools/train.py configs/small/digits_rx29_6c4w.py

The paper has no such experiment. Images are moved by up to a pixel, and not flipped; 8 epochs.
"""
_base_ = './digits.py'

image_size = 8
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=image_size, padding=1),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=8)
