"""Checks of the batches to train on: none at all, and the last one of an epoch, which may have a single image.

A batch norm that is trained needs two values for each channel. Where it follows a pooling of the whole image, as in
DeepLabv3+, an image is one value, and PyTorch ends the run at the end of the first epoch.
"""
from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from ...utils.config_types import ancestors
from ...utils.random_state import same_random_numbers
from .built import BuiltModel, BuiltSplit
from .configs import leaves
from .problems import Problem

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

# Samplers without an end, so that no batch is the last one.
ENDLESS = ('mmengine.InfiniteSampler', 'mmdet.MultiSourceSampler', 'mmdet.GroupMultiSourceSampler')


def check_batches(model: BuiltModel, splits: Sequence[BuiltSplit]) -> Iterator[Problem]:
    """Check that there is a batch to train on, and that a batch of one image can be trained on where there is one.

    Args:
        model (BuiltModel): The model.
        splits (Sequence[BuiltSplit]): The data that it is trained and evaluated on.
    """
    for split in splits:
        loader = split.dataloader
        if split.name != 'train' or loader is None:
            continue
        sampler: Any = getattr(loader, 'batch_sampler', None)
        bases = list(ancestors(type(sampler)))
        # Of mmdet's, too, the last batch has what is left over, whatever the order.
        if bases[0] != 'torch.BatchSampler' and 'mmdet.AspectRatioBatchSampler' not in bases:
            continue
        key = 'train_dataloader' if bases[0] == 'torch.BatchSampler' else 'train_dataloader.batch_sampler'
        sizes, batch_size = images_per_process(loader), sampler.batch_size
        if sampler.drop_last and sizes and min(sizes) < batch_size:
            yield Problem(f'train_dataloader has {min(sizes)} images for a process and batches of {batch_size}, and '
                          f'{key}.drop_last=True leaves none: set train_dataloader.batch_size={min(sizes)} or less')
        elif batch_size == 1 or any(number % batch_size == 1 and reaches_last_batch(split, number, batch_size)
                                    for number in sizes if not sampler.drop_last):
            yield from try_one_image(model, loader, batch_size, f'{key}.drop_last=True')


def images_per_process(loader: DataLoader) -> list[int]:
    """How many images each process goes through in an epoch; none if it has no end, or that is not known."""
    sampler = loader.batch_sampler.sampler
    if any(name in ancestors(type(sampler)) for name in ENDLESS) or not hasattr(sampler, '__len__'):
        return []
    if 'mmengine.DefaultSampler' in ancestors(type(sampler)) and not sampler.round_up:
        # All processes have to come to the same end, so each looks at the images of all.
        return [ceil((len(sampler.dataset) - rank) / sampler.world_size) for rank in range(sampler.world_size)]
    return [len(sampler)]


def reaches_last_batch(split: BuiltSplit, images: int, batch_size: int) -> bool:
    """Whether a training that counts iterations does not end before the last batch of the first epoch."""
    return split.iterations is None or split.iterations >= ceil(images / batch_size)


@dataclass
class Norms:
    """What the batch norms of a model have been given.

    Attributes:
        single (str): The first one that had a single value for each channel; '' for none.
        trained (set[str]): Those that were in training mode.
    """

    single: str = ''
    trained: set[str] = field(default_factory=set)


class _SingleValueError(Exception):
    """A batch norm in training mode was given one value for each channel."""


def try_one_image(model: BuiltModel, loader: DataLoader, batch_size: int, remedy: str) -> Iterator[Problem]:
    """Try whether the model can be trained on a batch of one image.

    Args:
        model (BuiltModel): The model, which is left as it is.
        loader (DataLoader): What makes batches.
        batch_size (int): The size of its batches but the last.
        remedy (str): The setting that leaves out a last batch that is not full.
    """
    norms = Norms()
    # An error of a sample or of the model is left to the run, which comes to it; others are of the trial alone.
    with same_random_numbers(), suppress(Exception):
        forward_one_image(model.module, loader, norms)
    which = 'every batch' if batch_size == 1 else 'the last batch of every epoch'
    mend = 'set train_dataloader.batch_size=2 or more' if batch_size == 1 else (
        f'set {remedy}, or another train_dataloader.batch_size than {batch_size}')
    if norms.single:
        yield Problem(f'{which} has one image for a process, of which model.{norms.single}, a batch norm that is '
                      f'trained, gets one value for each channel, and it needs two: {mend}')
    elif norms.trained:
        yield Problem(f'{which} has one image for a process, and {len(norms.trained)} batch norms take their '
                      f'statistics from it: {mend}', fatal=False)


def forward_one_image(model: nn.Module, loader: DataLoader, norms: Norms) -> None:
    """Go through a copy of the model with the first sample in training mode, and note what its batch norms get.

    Args:
        model (nn.Module): The model.
        loader (DataLoader): What makes batches.
        norms (Norms): What is seen is added to it.
    """
    import torch
    from mmengine.dist import get_world_size
    from torch.nn.modules.batchnorm import _BatchNorm
    several = get_world_size() > 1
    model = copy.deepcopy(model).train()
    if not any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
        return  # all are frozen, as in most detectors

    def look(name: str, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if not norm.training:
            return
        norms.trained.add(name)
        if inputs[0].numel() == inputs[0].shape[1]:
            norms.single = name
            raise _SingleValueError

    for name, module in model.named_modules():
        if several and isinstance(module, torch.nn.SyncBatchNorm):
            module.eval()  # it sees the images of all processes, and would wait for them
        elif isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(partial(look, name))
    batch = loader.collate_fn([copy_of_dataset(loader.dataset)[0]])
    with torch.no_grad():
        data: Any = model.data_preprocessor(batch, training=True)
        # Losses may wait for other processes; the heads alone do not.
        model._run_forward(data, mode='tensor' if several else 'loss')


def copy_of_dataset(dataset: Any) -> Any:
    """A copy of a dataset, with transforms that may remember samples; the annotations are shared."""
    arrays = [getattr(leaf, 'data_bytes', None) for leaf in leaves(dataset)]
    return copy.deepcopy(dataset, {id(array): array for array in arrays})
