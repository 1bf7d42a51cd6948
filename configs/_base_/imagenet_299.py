"""The recipe of imagenet_bs256.py on images of 299 pixels, for InceptionV3 and Res2Net-50-299 of the paper's Table 1.

    python tools/train.py configs/classification/imagenet_r2n50_26w4s_299.py

The paper does not say how it tests: here the centre crop of 299 of an image whose shorter side is 342, the ratio that
torchvision tests InceptionV3 at.
"""
_base_ = './imagenet_bs256.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=299, backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=342, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=299),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
