"""SimpleBaseline, ResNet-50, COCO keypoints, 256x192, 140 epochs: the recipe of the paper's Table 10.

    python tools/train.py configs/pose/simplebaseline_r50_coco.py

mmpose's SimpleBaseline with what the official Res2Net-Pose-Estimation does otherwise: Adam 1e-3 without warm-up, 4 GPUs
with 32 persons each, 140 epochs with steps at 90 and 120, no half bodies, and its own law of scale and rotation
(res2net_mm/datasets/transforms/pose.py). Test: flipped and shifted heatmaps, OKS-NMS at 0.9 and keypoint scores above
0.2 for the rescoring, both CocoMetric's defaults. One thing differs: the official code feeds BGR images, normalised
with the statistics of RGB; here it is RGB, which the ImageNet weights were trained with.

AP depends on the boxes as much as on the model, so the name of every result says whose they are:
    gt_boxes/AP          ground-truth boxes: validation, and tools/test.py by default or with --setting gt_boxes
    detected_boxes/AP    tools/test.py --setting detected_boxes: a detector's, of 56.4 AP for persons, from
                         https://github.com/Microsoft/human-pose-estimation.pytorch#data-preparation
The paper compares ResNet on detected boxes with Res2Net on ground-truth boxes; the rows here never mix the two.
"""
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'

data_root = 'data/coco/'
codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)

model = dict(
    backbone=dict(out_indices=(3, )),
    head=dict(loss=dict(loss_weight=0.5)))

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.25),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='res2net_mm.ClippedBBoxTransform', scale_std=0.3, rotate_std=40., rotate_prob=0.6),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=128)

train_cfg = dict(max_epochs=140, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type='MultiStepLR', milestones=[90, 120], end=140, gamma=0.1, by_epoch=True)]
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='res2net_mm.StopAtInvalidLoss'),  # stop at a NaN instead of training on for hours
]

val_dataloader = dict(dataset=dict(bbox_file=None))  # the boxes of the annotations
val_evaluator = dict(prefix='gt_boxes')
default_hooks = dict(checkpoint=dict(save_best='gt_boxes/AP'))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_settings = dict(
    gt_boxes=dict(
        test_dataloader=dict(dataset=dict(bbox_file=None)),
        test_evaluator=dict(prefix='gt_boxes')),
    detected_boxes=dict(
        test_dataloader=dict(
            dataset=dict(
                bbox_file=data_root + 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json')),
        test_evaluator=dict(prefix='detected_boxes')))
