"""Faster R-CNN C4, ResNet-50, 600 pixels, VOC 2007: the twin of faster_rcnn_c4_r2n50_voc07.py.

    python tools/train.py configs/detection/faster_rcnn_c4_r50_voc07.py
    tools/dist_train.sh configs/detection/faster_rcnn_c4_r50_voc07.py 8

Paper Table 5: mAP 72.1 (IoU 0.5). Compare with that twin.
"""
_base_ = '../_base_/faster_rcnn_c4_voc07.py'
