"""Checks of what a checkpoint holds, once it is read: containers of a sane shape, weights that are usable."""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from .constructors import Constructor, Numbers, UnfitError
from .loading import WRAPPERS

MOST_LEVELS = 100  # of containers in containers
MOST_VALUES = 10_000_000  # counting a shared one wherever it stands: what copying or printing the checkpoint would meet
NOT_WEIGHTS = ('meta', 'message_hub')  # of a training checkpoint: logs may hold NaN
MOST_REPEATED = 1 << 28  # bytes that tensors may have beyond what is stored for them
# Other tensors of one dimension may be infinite: an observer's minimum is, before it has seen anything. So may what an
# optimizer remembers of a gradient that once was; the weights tell whether that was the end.
TRAINED = ('weight', 'bias', 'running_mean', 'running_var')
Path = tuple  # the keys that lead to a value


def check_contents(checkpoint: Any) -> None:
    """Check a checkpoint for what would go wrong later, and less clearly.

    Args:
        checkpoint (Any): What a file holds.

    Raises:
        UnfitError: If containers are nested too deep, in a circle or into too many values, if names of weights are not
            texts, or if weights are sparse, quantized, complex, without values, or not finite.
    """
    tensors = list_tensors(checkpoint)
    _check_keys(checkpoint)
    weights = {path: tensor for path, tensor in tensors.items() if path and path[0] not in NOT_WEIGHTS}
    for path, tensor in weights.items():
        kind = _unusable(tensor)
        if kind:
            raise UnfitError(f"holds {kind} ('{_name(path)}'), where weights must be plain real tensors with values")
    _check_sizes([tensor for tensor in tensors.values() if not _unusable(tensor)])
    broken = {path: values for path, values in ((path, nonfinite_values(tensor)) for path, tensor in weights.items())
              if values and path[0] != 'optimizer'
              and (values.startswith('NaN') or weights[path].dim() != 1 or str(path[-1]).endswith(TRAINED))}
    if broken:
        path, values = next(iter(broken.items()))
        others = f' and {len(broken) - 1} more tensors' if len(broken) > 1 else ''
        raise UnfitError(f"holds weights that are not finite: '{_name(path)}' has {values}{others}. The training had "
                         'diverged; take an earlier checkpoint')


def list_tensors(root: Any) -> dict[Path, Tensor]:
    """Find all tensors, each once, however deep they lie.

    Returns:
        dict[tuple, Tensor]: By the keys that lead there first.

    Raises:
        UnfitError: As ``check_contents``, for containers.
    """
    found: dict[Path, Tensor] = {}
    sizes: dict[int, int] = {}  # of what is done, by identity
    entered: set[int] = set()  # the containers around the current value
    todo: list[tuple[Path, Any, bool]] = [((), root, False)]
    while todo:
        path, value, done = todo.pop()
        if done:
            sizes[id(value)] = 1 + sum(sizes[id(child)] for _, child in _children(value))
            entered.discard(id(value))
            if sizes[id(value)] > MOST_VALUES:
                raise UnfitError(f"has a container ('{_name(path)}') that unfolds to more than {MOST_VALUES} values")
        elif id(value) in entered:
            raise UnfitError(f"has a container that contains itself ('{_name(path)}')")
        elif id(value) not in sizes and isinstance(value, (dict, list, tuple)):
            entered.add(id(value))
            if len(entered) > MOST_LEVELS:
                raise UnfitError(f'has containers nested more than {MOST_LEVELS} levels deep')
            todo.append((path, value, True))
            todo += [((*path, key), child, False) for key, child in _children(value)]
        elif id(value) not in sizes:
            sizes[id(value)] = _leaf_size(value)
            if isinstance(value, Tensor):
                found[path] = value
    return dict(reversed(found.items()))


def _leaf_size(value: Any) -> int:
    if isinstance(value, (Constructor, Numbers)):
        raise UnfitError('is refused, and nothing of it was run: it holds a function where a value belongs')
    if isinstance(value, HistoryBuffer):
        return len(value.data[0])
    return 1 + (value.size if isinstance(value, np.ndarray) else 0)


def _children(container: Any) -> Iterable[tuple[Any, Any]]:
    return list(container.items() if isinstance(container, dict) else enumerate(container))


def _name(path: Path) -> str:
    return '.'.join(map(str, path))[:200]


def _check_keys(checkpoint: Any) -> None:
    """Weights have texts as names, alone and in what training frameworks wrap around them."""
    todo = [checkpoint]
    while todo:
        value = todo.pop()
        if not isinstance(value, dict):
            continue
        for key in value:
            if not isinstance(key, str):
                raise UnfitError(f'has {key!r:.100} ({type(key).__name__}) among the names of weights, which are texts')
        todo += [value[name] for name in WRAPPERS if name in value]


def _check_sizes(tensors: list[Tensor]) -> None:
    """Some tensors repeat their numbers, or share them; many times many would fill the memory."""
    stored = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    unfolded, most = sum(tensor.nbytes for tensor in tensors), MOST_REPEATED + 4 * sum(stored.values())
    if unfolded > most:
        raise UnfitError(f'has tensors that repeat {sum(stored.values())} bytes of numbers until they are {unfolded} '
                         f'bytes, where {most} are allowed; save clones of them')


def _unusable(tensor: Tensor) -> str:
    if tensor.is_nested:
        return 'a nested tensor'
    if tensor.is_quantized:
        return 'a quantized tensor'
    if tensor.layout is not torch.strided:
        return 'a sparse tensor'
    if tensor.is_meta:
        return "a tensor on the device 'meta'"
    return 'a complex tensor' if tensor.is_complex() else ''


def nonfinite_values(tensor: Tensor) -> str:
    """Say what is wrong with the values of a tensor, '' if nothing is; -inf beside finite ones may be a mask."""
    if not tensor.is_floating_point() or not tensor.numel():
        return ''
    values = tensor.detach().float() if tensor.element_size() == 1 else tensor.detach()
    finite = torch.isfinite(values)
    if finite.all():
        return ''
    for kind, wrong in (('NaN', torch.isnan(values)), ('infinity', values == float('inf'))):
        if wrong.any():
            return f'{kind} in {int(wrong.sum())} of {tensor.numel()} values'
    return '' if finite.any() else 'negative infinity in all values'
