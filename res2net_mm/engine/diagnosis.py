"""What a message says of a loss that is not finite: the images, the learning rate, and where it came from."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Callable

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ..models.parts import bare_model
from ..utils.text import shorten
from .nonfinite import nonfinite_weights

MOST_NAMES = 16  # in a message
IMAGE_NAMES = ('img_path', 'img_id', 'sample_idx')  # in the metainfo of a sample, the best first


def image_names(batch: Any) -> list[str]:
    """The files of a batch's images; of an image without a file its number in the annotations or the dataset.

    Args:
        batch (Any): What the data loader gave: samples of any toolbox (objects with ``metainfo``, or dicts of one),
            also inside dicts, lists and tuples.

    Returns:
        list[str]: 'a.jpg', 'img_id 17', 'sample_idx 3'; empty if the batch does not say.
    """
    return list(dict.fromkeys(_image_names(batch)))


def _image_names(batch: Any) -> Iterator[str]:
    metainfo = batch if isinstance(batch, Mapping) else getattr(batch, 'metainfo', None)
    if isinstance(metainfo, Mapping):
        for key in IMAGE_NAMES:
            value = metainfo.get(key)
            if isinstance(value, (str, int)):
                yield value if isinstance(value, str) else f'{key} {value}'
                return
            if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
                yield from value
                return
    if isinstance(batch, (Mapping, list, tuple)):
        for item in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _image_names(item)


def learning_rates(optim_wrapper: Any) -> str:
    """The learning rates of an optimizer wrapper, or of several: '0.02', 'generator.lr 0.1, discriminator.lr 0.2'."""
    rates = {name: list(dict.fromkeys(values)) for name, values in optim_wrapper.get_lr().items() if 'base' not in name}
    said = {name: '/'.join(f'{rate:.4g}' for rate in values) for name, values in rates.items()}
    return said['lr'] if list(said) == ['lr'] else ', '.join(f'{name} {rate}' for name, rate in said.items())


class FirstNonFinite:
    """Finds the first module of a model whose output is not finite, while a batch is run through it.

    Attributes:
        said (str): What was found, a sentence; '' as long as nothing was.
    """

    def __init__(self) -> None:
        self.said = ''

    @contextmanager
    def watching(self, model: nn.Module, leave_out: Collection[str]) -> Iterator[None]:
        """Look at the output of every module that is called; the innermost is the first to return.

        Args:
            model (nn.Module): The model.
            leave_out (Collection[str]): Weights that may be infinite, as for ``nonfinite_weights``.
        """
        handles = [module.register_forward_hook(self.look(name, leave_out), with_kwargs=True)
                   for name, module in model.named_modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def look(self, name: str, leave_out: Collection[str]) -> Callable[[nn.Module, Any, Any, Any], None]:
        """The forward hook of the module of this name."""

        def hook(module: nn.Module, inputs: Any, named_inputs: Any, outputs: Any) -> None:
            if self.said or not nonfinite_weights({'': outputs}):
                return
            where = f'{name} ({type(module).__name__})' if name else f'{type(module).__name__} itself'
            weights = nonfinite_weights(dict(module.named_parameters(prefix=name)), leave_out)
            if weights:
                why = f'its weights are not finite: {shorten(weights, MOST_NAMES)}'
            elif nonfinite_weights({'inputs': inputs, 'named': named_inputs}):
                why = 'what goes into it is not finite'
            else:
                why = 'its inputs and its weights are finite'
            self.said = f'The first module whose output is not finite is {where}; {why}.'

        return hook


def why_not_finite(model: nn.Module, run: Callable[[nn.Module], Any], leave_out: Collection[str]) -> tuple[str, Any]:
    """Run a batch once more, and say where what is not finite comes from.

    Other processes wait for the gradients of this one meanwhile, or have ended: nothing here waits for them. A model
    of which every process has a part only, and one that averages over processes in a way that cannot be told to stop
    (mmcv's SyncBN), is not run.

    Args:
        model (nn.Module): The model, in a wrapper such as DDP or without.
        run (Callable): Runs the batch through the model that it is given, without the wrapper, and changes no weight.
        leave_out (Collection[str]): Weights that may be infinite, as for ``nonfinite_weights``.

    Returns:
        tuple[str, Any]: Sentences for the message, and what ``run`` returned, None if it failed or was not called.
    """
    weights = nonfinite_weights(model, leave_out)
    said = f'Weights that are not finite: {shorten(weights, MOST_NAMES)}. ' if weights else ''
    if any(isinstance(module, FullyShardedDataParallel) or _is_sync_bn_of_mmcv(module) for module in model.modules()):
        return f'{said}Which module it comes from was not looked for: that would take all processes.', None
    first = FirstNonFinite()
    outputs = None
    try:
        with first.watching(bare_model(model), leave_out), torch.no_grad(), alone():
            outputs = run(bare_model(model))
    except Exception as error:  # any model is run here, in a way that it may not be made for
        failure = f'The batch cannot be run again: {type(error).__name__}: {error}.'
    else:
        failure = 'Run again, the batch gives outputs that are finite: random parts of the model decide.'
    return said + (first.said or failure), outputs


def _is_sync_bn_of_mmcv(module: nn.Module) -> bool:
    return type(module).__name__ == 'SyncBatchNorm' and type(module).__module__.startswith('mmcv')


@contextmanager
def alone() -> Iterator[None]:
    """Have PyTorch say that this process is the only one, to every layer and loss that would average over all."""
    is_initialized = torch.distributed.is_initialized
    torch.distributed.is_initialized = lambda: False
    try:
        yield
    finally:
        torch.distributed.is_initialized = is_initialized
