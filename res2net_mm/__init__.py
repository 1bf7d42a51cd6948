"""Res2Net for OpenMMLab: ``type='res2net_mm.Res2Net'`` in any mmdet, mmseg, mmpose or mmpretrain config; for plain
PyTorch ``res2net_mm.create('res2net50_v1b_26w4s')``.

Importing this package imports neither torch nor a toolbox: ``res2net_mm.create``, ``res2net_mm.Res2Net``,
``res2net_mm.load_config`` and ``res2net_mm.accelerate`` are looked up on first use, and mmengine finds the registered
models by itself (``registry.py``).
"""
from importlib import import_module

from .version import __version__

_EXPORTS = {
    'BLRes2Net': '.models',
    'Bottle2neck': '.models',
    'CifarRes2NeXt': '.models',
    'DLA': '.models',
    'DSSHead': '.models',
    'Res2Net': '.models',
    'Res2SharedHead': '.models',
    'accelerate': '.acceleration.backends',
    'accelerate_training': '.acceleration.training.accelerate',
    'create': '.models.create',
    'load_config': '.utils.config',
}

__all__ = ['__version__', *_EXPORTS]


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'res2net_mm' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name], __name__), name)
