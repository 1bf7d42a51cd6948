"""scikit-learn's digits, ResNeXt-29 6c4w: where a miniature of the paper's Figure 5 starts.

    python tools/misc/evidence.py --data-only                                       makes the data
    python tools/reproduce.py digits_dimensions --tables res2net_mm/reproduction/evidence.yml
    python tools/train.py configs/small/digits_rx29_6c4w.py

The second trains this one and its 9 changes of scale, cardinality or depth, and draws them. The paper has no such
experiment. 1.45 M parameters without batch norms.
"""
_base_ = '../_base_/digits_8x8.py'

backbone = dict(type='res2net_mm.CifarRes2NeXt', groups=6, base_width=4, scales=1, out_indices=(2, ))
model = dict(backbone=backbone, head=dict(in_channels=1024))
