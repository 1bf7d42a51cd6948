"""The end of a run whose loss is not a number."""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS


@HOOKS.register_module()
class StopAtInvalidLoss(Hook):
    """Stop at a loss that is infinite or not a number, instead of training on for hours.

    Args:
        interval (int): Look at every so many iterations. Defaults to 50.

    Raises:
        FloatingPointError: If the loss is not finite; the message has the losses, the iteration, the last checkpoint.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None,
                         outputs: dict | None = None) -> None:
        """Look at the loss of an iteration."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        assert outputs is not None  # a training loop has the losses
        if torch.isfinite(outputs['loss']):
            return
        losses = ', '.join(f'{name} {float(value):.4g}' for name, value in outputs.items() if 'loss' in name)
        saved = runner.message_hub.get_info('last_ckpt') if 'last_ckpt' in runner.message_hub.runtime_info else 'none'
        raise FloatingPointError(
            f'iteration {runner.iter + 1}: {losses}. Last checkpoint: {saved}. Usual causes: frozen layers or batch '
            'norms in eval mode over random weights; a learning rate for a larger batch (--auto-scale-lr); float16.')
