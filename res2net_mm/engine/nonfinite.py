"""Weights that are infinite or not a number, in models and in checkpoints."""
from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..checkpoints.files import load_from_local
from ..models.parts import bare_model
from ..utils.errors import UserError


class NonFiniteError(UserError, FloatingPointError):
    """A loss or a weight is infinite or not a number; the message is for the user."""


def nonfinite_weights(weights: nn.Module | Mapping[str, Any], leave_out: Collection[str] = ()) -> list[str]:
    """The names of the weights that have an infinite value or one that is not a number.

    Every tensor is summed once, and the host waits once for each device: a sum is not finite if one of its terms is
    not. Where a sum is not finite, which may also be one that overflowed, every value is looked at.

    Args:
        weights (nn.Module | Mapping): A model, of which parameters and buffers are looked at, also those that no
            checkpoint keeps, under the names that they have without a wrapper such as DDP. Or a state dict or a part
            of a checkpoint: its tensors, also those in dicts, lists and tuples inside, such as an optimizer's.
        leave_out (Collection[str]): Names that are not looked at. A buffer that is infinite from the beginning, such
            as an attention mask, is in order: give the names that this function returned then. Defaults to ().

    Returns:
        list[str]: Names in the order of the weights, 'backbone.conv1.weight'. Tensors of integers, and those on the
        meta device, have none.
    """
    if isinstance(weights, nn.Module):
        model = bare_model(weights)
        named: Iterator[tuple[str, Tensor]] = iter([*model.named_parameters(), *model.named_buffers()])
    else:
        named = named_tensors(weights)
    tensors = {name: tensor for name, tensor in named if name not in leave_out and has_fractions(tensor)}
    devices: dict[torch.device, list[str]] = {}
    for name, tensor in tensors.items():
        devices.setdefault(tensor.device, []).append(name)
    suspects = set()
    with torch.no_grad():
        for names in devices.values():
            sums = torch.stack([total(tensors[name]) for name in names])
            suspects |= {name for name, finite in zip(names, torch.isfinite(sums).tolist()) if not finite}
        return [name for name in tensors if name in suspects and not is_finite(tensors[name])]


def named_tensors(value: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """The tensors in dicts, lists and tuples, under the keys and indices that lead to them, joined by dots."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (Mapping, list, tuple)):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from named_tensors(item, f'{name}.{key}' if name else str(key))


def has_fractions(tensor: Tensor) -> bool:
    """Whether a tensor can have a value that is not finite: none of integers can, nor one without memory."""
    return ((tensor.is_floating_point() or tensor.is_complex()) and not tensor.is_meta and not is_lazy(tensor)
            and tensor.numel() > 0)


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor in float32 or, of float64 and of complex numbers, in float64."""
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.element_size() == 1:  # PyTorch does not sum 8-bit floats
        tensor = tensor.float()
    return tensor.sum(dtype=torch.float64 if tensor.dtype is torch.float64 else torch.float32).double()


def is_finite(tensor: Tensor) -> bool:
    """Whether every value of a tensor is finite."""
    dense = tensor if tensor.layout is torch.strided else tensor.to_dense()
    return bool(torch.isfinite(dense.float() if dense.element_size() == 1 else dense).all())


def last_finite_checkpoint(files: Iterable[str | Path], leave_out: Collection[str] = ()) -> str | None:
    """The newest of some checkpoints that can be read and whose weights are finite, also the averaged ones.

    Args:
        files (Iterable[str | Path]): Files; those that do not exist are passed over.
        leave_out (Collection[str]): As for ``nonfinite_weights``. Defaults to ().

    Returns:
        str | None: The file, or None if there is none.
    """
    existing = {os.path.realpath(file): str(file) for file in files if os.path.isfile(file)}
    for file in sorted(existing, key=os.path.getmtime, reverse=True):
        try:
            checkpoint = load_from_local(file, map_location='cpu')
        except (OSError, ValueError):  # what this reader says of every file that is not whole
            continue
        if not nonfinite_in_checkpoint(checkpoint, leave_out):
            return existing[file]
    return None


def nonfinite_in_checkpoint(checkpoint: Mapping[str, Any], leave_out: Collection[str] = ()) -> list[str]:
    """The names of the weights in a training checkpoint that are not finite; mmengine's EMAHook keeps them twice.

    Args:
        checkpoint (Mapping): What mmengine saves.
        leave_out (Collection[str]): As for ``nonfinite_weights``. Defaults to ().
    """
    averaged = {f'module.{name}' for name in leave_out}  # as an averaged model calls them
    return [name for key in ('state_dict', 'ema_state_dict')
            for name in nonfinite_weights(checkpoint.get(key) or {}, averaged.union(leave_out))]
