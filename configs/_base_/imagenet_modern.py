"""ImageNet, 300 epochs: cosine schedule, warm-up, mixup; imagenet_*_v1*.py add the backbone.

    python tools/train.py configs/classification/imagenet_r2n50_v1b.py

The paper has no such recipe. The weights called v1b were trained with an augmentation like mixup that was never
released; the authors say that mixup, a cosine schedule and 300 epochs come near. Chosen here: mixup's alpha 0.2 and 5
epochs of warm-up. The rest is imagenet_bs256.py.
"""
_base_ = './imagenet_bs256.py'

epochs, warm_up = 300, 5
model = dict(train_cfg=dict(augments=dict(type='Mixup', alpha=0.2)))
train_cfg = dict(max_epochs=epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=warm_up, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=epochs - warm_up, begin=warm_up, end=epochs, convert_to_iter_based=True),
]
