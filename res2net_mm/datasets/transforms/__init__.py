"""Data transforms that no toolbox has. They need mmcv, and no toolbox."""
from .evaluation_pipeline import EvaluationPipeline, guard_evaluation
from .pose import ClippedBBoxTransform
from .saliency import LoadSaliencyAnnotations
from .skip_bad_sample import SkipBadSample

__all__ = ['ClippedBBoxTransform', 'EvaluationPipeline', 'LoadSaliencyAnnotations', 'SkipBadSample',
           'guard_evaluation']
