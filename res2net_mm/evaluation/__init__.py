"""Metrics that no toolbox has."""
from .saliency_metric import SaliencyMetric

__all__ = ['SaliencyMetric']
