"""Faster R-CNN, ResNet-50, FPN, COCO 1x: the recipe, and the twin to compare faster_rcnn_r2n50_coco.py with.

    python tools/train.py configs/faster_rcnn_r50_coco.py
    tools/dist_train.sh configs/faster_rcnn_r50_coco.py 8

mmdet's model zoo: box AP 37.4. The paper's ResNet-50 (Table 5: 31.1) had no FPN: compare only twins of one recipe.
"""
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

custom_hooks = [dict(type='CheckInvalidLossHook', interval=50)]  # stop at a NaN instead of training on for hours
