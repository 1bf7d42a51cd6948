"""The end of a run whose loss is not a number."""
from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor

from ...models.layers.arguments import checked
from ...models.parts import bare_model
from ...registry import HOOKS
from ...utils.text import shorten
from ..diagnosis import MOST_NAMES, image_names, learning_rates, why_not_finite
from ..nonfinite import NonFiniteError, last_finite_checkpoint, nonfinite_in_checkpoint, nonfinite_weights

CAUSES = ('Usual causes: frozen layers or batch norms in eval mode over random weights; a learning rate for a larger '
          'batch (--auto-scale-lr); float16.')


@HOOKS.register_module()
class StopAtInvalidLoss(Hook):
    """Stop at the first loss that is infinite or not a number, before the optimizer's step.

    Looked at is every loss that an optimizer wrapper is given to train on: that of a generator and of a discriminator,
    each before its backward pass, and no other that a model reports. Where an iteration goes around its optimizer
    wrapper, ``loss`` of what it returns is looked at, or without it everything that has 'loss' in its name.

    On the CPU that is one comparison. A GPU is never drained: the loss is copied to pinned memory behind the forward
    pass, and the host waits for that copy only before the optimizer's step, when the backward pass is in the queue.

    Weights are looked at before a checkpoint is saved, and in the end: a gradient may be infinite where the loss is
    not. Steps that float16's gradient scaler leaves out are in order.

    Raises:
        NonFiniteError: If a loss or a weight is not finite. The message has the iteration, the losses, the images, the
            learning rate, the first module whose output is not finite, and the last checkpoint that is.
    """

    priority = 'LOW'  # before a save, and when the averaged weights of mmengine's EMAHook are in the checkpoint

    @checked({})
    def __init__(self) -> None:
        self.seen: deque[SeenLosses] = deque()
        self.iteration = 0
        self.batch: Any = None
        self.told = False  # whether an optimizer wrapper was given a loss in this iteration
        self.repeating = False  # while a batch is run again, to find out why
        self.infinite_from_the_start: list[str] = []  # weights, such as an attention mask

    def before_train(self, runner: Runner) -> None:
        """Have the optimizer wrappers show the losses that they are given."""
        self.infinite_from_the_start = nonfinite_weights(runner.model)
        trained = [name for name, parameter in bare_model(runner.model).named_parameters()
                   if parameter.requires_grad and name in self.infinite_from_the_start]
        if trained:
            raise NonFiniteError(f'weights to train that are not finite before the first iteration: '
                                 f'{shorten(trained, MOST_NAMES)}. Look at load_from, --resume and init_cfg.')
        for wrapper in optim_wrappers(runner):
            self.watch(runner, wrapper)

    def watch(self, runner: Runner, wrapper: OptimWrapper) -> None:
        """Put a look at the loss before ``backward`` and ``step`` of an optimizer wrapper."""
        unwatch(wrapper)
        backward, step = wrapper.backward, wrapper.step

        def look_and_backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            if self.repeating:
                return
            self.told = True
            self.seen.append(SeenLosses(self.iteration, self.batch, {'loss': loss}))
            self.look(runner, wait=not loss.is_cuda)
            backward(loss, *args, **kwargs)

        def look_and_step(*args: Any, **kwargs: Any) -> None:
            if not self.repeating:
                self.look(runner)
                step(*args, **kwargs)

        wrapper.backward, wrapper.step = look_and_backward, look_and_step

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        """Remember the batch, for a message."""
        self.iteration, self.batch, self.told = runner.iter, data_batch, False

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None,
                         outputs: dict | Tensor | None = None) -> None:
        """Look at the losses of an iteration that went around its optimizer wrapper."""
        if self.told:
            return
        losses = find_losses(outputs)
        decisive = {'loss': losses['loss']} if 'loss' in losses else losses
        self.seen.append(SeenLosses(runner.iter, data_batch, decisive))
        self.look(runner, wait=False)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save nothing that is not finite."""
        self.look(runner)
        self.refuse_weights(runner, nonfinite_in_checkpoint(checkpoint, self.infinite_from_the_start))

    def after_train(self, runner: Runner) -> None:
        """Look at the weights that the run ends with."""
        for wrapper in optim_wrappers(runner):
            unwatch(wrapper)
        self.look(runner)
        self.refuse_weights(runner, nonfinite_weights(runner.model, self.infinite_from_the_start))
        self.batch = None

    def look(self, runner: Runner, wait: bool = True) -> None:
        """Look at the losses that were seen; without ``wait`` only at those that have arrived from the GPU."""
        while self.seen and (wait or self.seen[0].arrived()):
            seen = self.seen.popleft()
            if not seen.finite():
                self.seen.clear()
                raise NonFiniteError(self.message(runner, seen))

    def message(self, runner: Runner, seen: SeenLosses) -> str:
        """Everything that can be said of a loss that is not finite."""

        def run(model: Any) -> Any:
            self.repeating = True
            try:
                return model.train_step(seen.batch, optim_wrapper=runner.optim_wrapper)
            finally:
                self.repeating = False

        why, outputs = why_not_finite(runner.model, run, self.infinite_from_the_start)
        losses = {**seen.losses, **find_losses(outputs), **seen.losses}
        said = ', '.join(f'{name} {float(values.mean()):.4g}' for name, values in losses.items())
        step = 'The step of the optimizer was not taken. ' if self.told else ''
        return f'{self.place(runner, seen.iteration, seen.batch)}: {said}. {why} {step}{self.advice(runner)} {CAUSES}'

    def refuse_weights(self, runner: Runner, weights: list[str]) -> None:
        """Raise an error if there are names of weights."""
        if weights:
            raise NonFiniteError(
                f'{self.place(runner, self.iteration, self.batch)}: the loss is finite, but its gradient is not. After '
                f'the step these weights are not finite: {shorten(weights, MOST_NAMES)}. {self.advice(runner)} '
                + CAUSES)

    def place(self, runner: Runner, iteration: int, batch: Any) -> str:
        """Where a run is: process, iteration, images, learning rate."""
        process = f'process {get_rank()} of {get_world_size()}, ' if get_world_size() > 1 else ''
        images = shorten(image_names(batch), MOST_NAMES) or 'that the batch does not name'
        return (f'{process}iteration {iteration + 1}, learning rate {learning_rates(runner.optim_wrapper)}, '
                f'images {images}')

    def advice(self, runner: Runner) -> str:
        """The checkpoint to go back to."""
        known = runner.message_hub.runtime_info.get('last_ckpt')
        files = [*([known] if known else []), *Path(runner.work_dir).glob('*.pth')]
        saved = last_finite_checkpoint(files, self.infinite_from_the_start)
        return f'Last checkpoint whose weights are finite: {saved or "none"}.'


@dataclass
class SeenLosses:
    """The losses of an iteration, which a GPU may still have to compute.

    Args:
        iteration (int): From 0 on.
        batch (Any): What the data loader gave.
        losses (dict[str, Tensor]): Of any shape; on a GPU they are replaced by copies on their way to the host.
    """

    iteration: int
    batch: Any
    losses: dict[str, Tensor]

    def __post_init__(self) -> None:
        self.copied: torch.cuda.Event | None = None
        self.losses = {name: loss.detach() for name, loss in self.losses.items()}
        if any(loss.is_cuda for loss in self.losses.values()):
            self.losses = {name: torch.empty_like(loss, device='cpu', pin_memory=True).copy_(loss, non_blocking=True)
                           for name, loss in self.losses.items()}
            self.copied = torch.cuda.Event()
            self.copied.record()

    def arrived(self) -> bool:
        """Whether a look at the losses costs no waiting."""
        return self.copied is None or self.copied.query()

    def finite(self) -> bool:
        """Whether all losses are finite; waits for those that have not arrived."""
        if self.copied is not None:
            self.copied.synchronize()
        return all(math.isfinite(value) for loss in self.losses.values() for value in loss.flatten().tolist())


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """The optimizer wrappers of a run, one or several."""
    wrapper = runner.optim_wrapper
    return list(wrapper.optim_wrappers.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def unwatch(wrapper: OptimWrapper) -> None:
    """Give an optimizer wrapper its own ``backward`` and ``step`` back."""
    for name in ('backward', 'step'):
        vars(wrapper).pop(name, None)


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
