"""Faster R-CNN, ResNet-50, FPN, COCO 1x: the recipe, and the twin of faster_rcnn_r2n50_coco.py.

    python tools/train.py configs/detection/faster_rcnn_r50_coco.py
    tools/dist_train.sh configs/detection/faster_rcnn_r50_coco.py 8

mmdet's model zoo: box AP 37.4. The paper's ResNet-50 (Table 5: 31.1) had no FPN: compare only twins of one recipe.
"""
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

# Table 6 has AR by size; its @1000 is mmdet's fixed name: a detector keeps 100 boxes an image.
metric_items = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@100', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000']
val_evaluator = dict(metric_items=metric_items)
test_evaluator = val_evaluator
custom_hooks = [dict(type='res2net_mm.StopAtInvalidLoss')]  # stop at a NaN instead of training on for hours
