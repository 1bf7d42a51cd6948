"""How mmseg runs an experiment, for the configs of mmseg's scope: iterations are counted, not epochs.

These are the settings of mmseg's own _base_/default_runtime.py, written out: under the name mmseg:: plain mmengine
looks for OpenMMLab's distribution, and does not find that of the OneDL fork.
"""
default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
