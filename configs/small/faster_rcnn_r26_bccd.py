"""Faster R-CNN, ResNet-26 of 16 channels, blood cells (BCCD) at 256 x 192: the twin of faster_rcnn_r2n26_bccd.py.

    tools/misc/prepare_data.py bccd --from BCCD_Dataset --to data/bccd
    python tools/train.py configs/small/faster_rcnn_r26_bccd.py

The paper's detection in small, see docs/evidence.md; the model and recipe of demo_faster_rcnn_r2n26_shapes.py.
"""
_base_ = '../_base_/faster_rcnn_bccd.py'
