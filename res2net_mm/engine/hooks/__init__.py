"""Hooks of mmengine's runner."""
from .accelerate_testing import AccelerateTesting
from .accelerate_training import AccelerateTraining
from .bfloat16_features import BFloat16Features
from .channels_last import ChannelsLast
from .checkpoint import CheckpointHook
from .load_whole_checkpoint import LoadWholeCheckpoint
from .refuse_test_images import RefuseTestImages
from .resume_exactly import ResumeExactly
from .resume_schedule import ResumeSchedule
from .stop_at_invalid_loss import StopAtInvalidLoss

__all__ = ['AccelerateTesting', 'AccelerateTraining', 'BFloat16Features', 'ChannelsLast', 'CheckpointHook',
           'LoadWholeCheckpoint', 'RefuseTestImages', 'ResumeExactly', 'ResumeSchedule', 'StopAtInvalidLoss']
