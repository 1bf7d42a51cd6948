"""Faster R-CNN C4, ResNet-50, 600 pixels, COCO: the twin of faster_rcnn_c4_r2n50_coco.py.

    python tools/train.py configs/detection/faster_rcnn_c4_r50_coco.py
    tools/dist_train.sh configs/detection/faster_rcnn_c4_r50_coco.py 8

Paper Tables 5 and 6: AP 31.1, AP50 51.4; AP by size 13.5 35.4 46.2, AR 42.8. Compare with that twin.
"""
_base_ = '../_base_/faster_rcnn_c4_coco.py'
