"""Fully sharded training (FSDP): name this file in ``_base_`` beside the config of any experiment.

    _base_ = ['res2net_mm::faster_rcnn_r2n50_coco.py', 'res2net_mm::_base_/fsdp.py']

Start it with ``tools/dist_train.sh CONFIG GPUS``. Gradients, optimizer state and, between iterations, weights are
divided among the processes. Gradients cannot be clipped by norm, and sync_bn is not read (docs/stacks.md, "FSDP").
"""
runner_type = 'FlexibleRunner'
strategy = dict(type='res2net_mm.FSDPStrategy')
