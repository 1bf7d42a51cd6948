"""From an image to a result, and from a checkpoint to a file that another program runs.

Importing this package, ``Prediction`` and ``Exported`` imports neither torch nor OpenMMLab: a product that runs
exported files needs NumPy, OpenCV, and onnxruntime or openvino.
"""
from importlib import import_module

_EXPORTS = {
    'Exported': '.exported',
    'Prediction': '.prediction',
    'Predictor': '.predictor',
    'draw_prediction': '.drawing',
    'export': '.export',
    'predict': '.predict',
}

__all__ = list(_EXPORTS)


def __getattr__(name):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'res2net_mm.apis' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name], __name__), name)
    globals()[name] = value  # the function, also where a module has the same name and was imported just now
    return value
