"""The hook by which ``tools/test.py`` loads the checkpoint that it tests."""
from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...models.layers.arguments import Text, checked
from ...registry import HOOKS
from ...utils.errors import UserError


@HOOKS.register_module()
class LoadWholeCheckpoint(Hook):
    """Load a checkpoint strictly before a test: mmengine's ``load_from`` would test a model that is loaded by half.

    It is loaded when the other hooks are ready: mmengine's EMAHook, which takes its averaged weights from a checkpoint,
    has a model to put them into from ``before_run`` on only.

    Args:
        checkpoint (str): The checkpoint of a whole model.
        config (str): What the message calls the config.

    Raises:
        UserError: If the checkpoint cannot be read, or lacks a weight, has another shape or one too many.
    """

    priority = 'HIGHEST'

    @checked(dict(checkpoint=Text(file=True), config=Text(file=True)))
    def __init__(self, checkpoint: str, config: str) -> None:
        self.checkpoint = checkpoint
        self.config = config

    def before_test(self, runner: Runner) -> None:
        """Load the checkpoint."""
        try:
            runner.load_checkpoint(self.checkpoint, strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"checkpoint '{self.checkpoint}' for {self.config}: {error}") from error

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put weights that are the whole file where the hooks behind this one look for them."""
        if 'state_dict' not in checkpoint:
            weights = dict(checkpoint)
            checkpoint.clear()
            checkpoint['state_dict'] = weights
