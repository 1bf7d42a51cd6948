"""Data transforms that no toolbox has. They need mmcv, and no toolbox."""
from .pose import ClippedBBoxTransform
from .saliency import LoadSaliencyAnnotations
from .skip_bad_sample import SkipBadSample

__all__ = ['ClippedBBoxTransform', 'LoadSaliencyAnnotations', 'SkipBadSample']
