"""From an image to a result, and from a checkpoint to a file that another program runs.

Importing this package, ``Prediction`` and ``Exported`` imports neither torch nor OpenMMLab: a product that runs
exported files needs NumPy, OpenCV, for classifiers Pillow, and onnxruntime or openvino.
"""
import sys
from importlib import import_module
from types import ModuleType

_EXPORTS = {
    'Exported': '.exported',
    'Prediction': '.prediction',
    'Predictor': '.predictor',
    'demo_models': '.model_files',
    'draw_prediction': '.drawing',
    'export': '.export',
    'find_model': '.model_files',
    'predict': '.predict',
}

__all__ = list(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'res2net_mm.apis' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name], __name__), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Python binds a module to its name in its package, where ``predict`` and ``export`` are functions here."""

    def __setattr__(self, name, value):
        if not (name in _EXPORTS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
