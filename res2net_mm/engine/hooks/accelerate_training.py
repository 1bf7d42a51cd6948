"""The hook of ``tools/train.py --accelerate``."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...acceleration.training.accelerate import accelerate_training
from ...models.layers.arguments import checked
from ...models.parts import bare_model
from ...registry import HOOKS


@HOOKS.register_module()
class AccelerateTraining(Hook):
    """Train through :func:`res2net_mm.accelerate_training`: the same losses, sooner and in less memory."""

    @checked({})
    def __init__(self) -> None:
        super().__init__()

    def before_train(self, runner: Runner) -> None:
        """Give the blocks of the model what runs them faster."""
        accelerate_training(bare_model(runner.model))
