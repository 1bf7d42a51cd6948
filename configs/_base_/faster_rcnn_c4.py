"""Faster R-CNN on one feature map of stride 16 (C4), ResNet-50, 600 pixels: likely what the paper's Tables 5, 6 used.

The paper says no more than Faster R-CNN. Its ResNet-50 numbers (COCO AP 31.1, VOC07 mAP 72.1) are those of C4 at 600
pixels in the public PyTorch code of that time. Weights, normalisation and the place of the stride are torchvision's.
"""
_base_ = ['mmdet::_base_/models/faster-rcnn_r50-caffe-c4.py', 'mmdet::_base_/default_runtime.py']

pretrained = dict(type='Pretrained', checkpoint='torchvision://resnet50')
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(style='pytorch', init_cfg=pretrained),
    rpn_head=dict(anchor_generator=dict(scales=[4, 8, 16, 32])),
    roi_head=dict(shared_head=dict(style='pytorch', init_cfg=pretrained)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(max_per_img=300)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1000, 600), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]
