"""Faster R-CNN, Res2Net-26 26w4s of 16 channels, blood cells (BCCD) at 256 x 192.

    python tools/train.py configs/small/faster_rcnn_r2n26_bccd.py

The paper's detection in small, see docs/evidence.md; compare with faster_rcnn_r26_bccd.py.
"""
_base_ = './faster_rcnn_r26_bccd.py'

model = dict(backbone=dict(arch='res2net50_26w4s'))
