"""Metrics that no toolbox has, and the evaluator that counts bad images."""
from .bad_images import CountBadImages
from .saliency_metric import SaliencyMetric

__all__ = ['CountBadImages', 'SaliencyMetric']
