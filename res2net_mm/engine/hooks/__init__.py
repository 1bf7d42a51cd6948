"""Hooks of mmengine's runner."""
from .accelerate_testing import AccelerateTesting
from .accelerate_training import AccelerateTraining
from .bfloat16_features import BFloat16Features
from .load_whole_checkpoint import LoadWholeCheckpoint
from .refuse_test_images import RefuseTestImages
from .stop_at_invalid_loss import StopAtInvalidLoss

__all__ = ['AccelerateTesting', 'AccelerateTraining', 'BFloat16Features', 'LoadWholeCheckpoint', 'RefuseTestImages',
           'StopAtInvalidLoss']
