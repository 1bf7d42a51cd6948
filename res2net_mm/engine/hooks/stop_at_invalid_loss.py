"""The end of a run whose loss is not a number."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from ...registry import HOOKS


@HOOKS.register_module()
class StopAtInvalidLoss(Hook):
    """Stop at a loss that is infinite or not a number, instead of training on for hours.

    Looked at is ``loss`` of what an iteration returns; without it, everything that has 'loss' in its name, such as the
    losses of a generator and a discriminator. An iteration that returns no loss is passed over.

    Args:
        interval (int): Look at every so many iterations. Defaults to 50.

    Raises:
        FloatingPointError: If a loss is not finite; the message has the losses, the iteration, the last checkpoint.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None,
                         outputs: dict | Tensor | None = None) -> None:
        """Look at the losses of an iteration."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        losses = find_losses(outputs)
        decisive = [losses['loss']] if 'loss' in losses else list(losses.values())
        if all(torch.isfinite(values).all() for values in decisive):
            return
        said = ', '.join(f'{name} {float(values.mean()):.4g}' for name, values in losses.items())
        saved = runner.message_hub.get_info('last_ckpt') if 'last_ckpt' in runner.message_hub.runtime_info else 'none'
        raise FloatingPointError(
            f'iteration {runner.iter + 1}: {said}. Last checkpoint: {saved}. Usual causes: frozen layers or batch '
            'norms in eval mode over random weights; a learning rate for a larger batch (--auto-scale-lr); float16.')


def find_losses(outputs: Any) -> dict[str, Tensor]:
    """The losses among the outputs of an iteration.

    Args:
        outputs (dict | Tensor | float | None): The outputs: of a dict, the numbers with 'loss' in their name, single
            ones, tensors of any shape, or sequences of them; otherwise a number is the loss itself.

    Returns:
        dict[str, Tensor]: Losses by name, each (n, ) float64 with n of at least 1.
    """
    if not isinstance(outputs, dict):
        outputs = {'loss': outputs}
    losses = {}
    for name, value in outputs.items():
        parts = value if isinstance(value, (list, tuple)) else [value]
        numbers = [torch.as_tensor(part).detach().double().flatten() for part in parts
                   if isinstance(part, (Tensor, float, int))]
        if 'loss' in str(name) and any(len(part) for part in numbers):
            losses[str(name)] = torch.cat(numbers)
    return losses
