"""Hooks of mmengine's runner."""
from .accelerate_training import AccelerateTraining
from .bfloat16_features import BFloat16Features
from .refuse_test_images import RefuseTestImages
from .stop_at_invalid_loss import StopAtInvalidLoss

__all__ = ['AccelerateTraining', 'BFloat16Features', 'RefuseTestImages', 'StopAtInvalidLoss']
