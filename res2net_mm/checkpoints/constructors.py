"""What the names in a checkpoint's pickle stand for: functions that check what a file gives them.

Sizes and types here are chosen by a stranger. Each function takes what ``torch.save`` writes for its kind of value, and
refuses the rest by ``UnfitError``.
"""
from __future__ import annotations

import re
from collections import Counter, OrderedDict
from dataclasses import dataclass
from math import prod
from typing import Any, Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR
from torch import Tensor, nn

MOST_DIMENSIONS = 32
NUMPY_TYPE = re.compile(r'[biufc]\d{1,2}|[SU]\d{1,6}')


class UnfitError(ValueError):
    """A checkpoint is not taken. The text goes on after its path: "holds a sparse tensor"."""


class ForeignError(ValueError):
    """A file is no checkpoint. The text says what it is instead: "a web page"."""


@dataclass
class Numbers:
    """A storage: numbers of one type, in memory or (``data=None``) only announced."""

    dtype: torch.dtype
    count: int
    data: torch.UntypedStorage | None


@dataclass(frozen=True)
class Constructor:
    """What a name in a pickle stands for: a function of this module, and no object that it could reach into."""

    build: Callable[..., Any]


# What is in containers.


def require(value: Any, *kinds: type) -> Any:
    """Return ``value`` if its type is one of ``kinds``."""
    if type(value) not in kinds:
        raise UnfitError(f'has a {type(value).__name__} where a {kinds[0].__name__} belongs')
    return value


def checked_key(key: Any) -> Any:
    """Let nothing be a key whose hash takes long or is chosen by the file."""
    parts = key if type(key) is tuple and len(key) < 10 else (key, )
    for part in parts:
        if type(part) not in (str, bytes, bool, int, type(None)) or type(part) is int and abs(part) >= 2**40:
            raise UnfitError(f'has a {type(part).__name__} as a key, where texts and small numbers may stand')
    return key


def _ordered_dict(items: Any = ()) -> OrderedDict:
    return OrderedDict((checked_key(key), value) for key, value in items)


def _counter(counts: Any = ()) -> Counter:
    keys = require(counts, dict, tuple)
    return Counter({checked_key(key): keys[key] for key in keys} if isinstance(keys, dict) else map(checked_key, keys))


def _set(items: Any = ()) -> set:
    return {checked_key(item) for item in require(items, list, tuple)}


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding not in ('latin1', 'latin-1'):
        raise UnfitError(f'encodes a text as {encoding!r:.100}')
    return require(text, str).encode('latin1')


def _bytes() -> bytes:
    return b''  # pickled so in protocol 2; others are encoded texts


def _bytearray(content: Any = b'') -> bytearray:
    return bytearray(require(content, bytes))


def _number(kind: type) -> Constructor:
    def build(*parts: Any) -> Any:
        if any(type(part) not in (int, float, type(None)) for part in parts):
            raise UnfitError(f'makes a {kind.__name__} of something else than numbers')
        return kind(*parts)
    return Constructor(build)


def _size(sizes: Any) -> torch.Size:
    return torch.Size([require(size, int) for size in require(sizes, tuple, list)])


def _device(kind: Any, index: Any = None) -> torch.device:
    return torch.device(require(kind, str), *(() if index is None else (require(index, int), )))


def _class(*_: Any) -> None:
    """Stand for a class that pickles name and never call."""
    raise UnfitError('makes an object of a class that pickles only name')


# Tensors.


def _tensor(numbers: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None,
            metadata: Any = None) -> Tensor:
    require(numbers, Numbers)
    size, stride = tuple(require(size, tuple, torch.Size)), require(stride, tuple)
    if any(type(value) is not int or value < 0 for value in (offset, *size, *stride)) or len(size) != len(stride):
        raise UnfitError(f'has a tensor of size {size!r:.100} with strides {stride!r:.100} and offset {offset!r:.100}')
    if len(size) > MOST_DIMENSIONS:
        raise UnfitError(f'has a tensor of {len(size)} dimensions, where {MOST_DIMENSIONS} are allowed')
    if metadata:
        raise UnfitError('has a tensor that is conjugated or negated when it is read; save a clone of it')
    count = prod(size)
    if count and offset + sum((length - 1) * step for length, step in zip(size, stride)) >= numbers.count:
        raise UnfitError(f'has a tensor of size {size} that reaches beyond its {numbers.count} stored numbers')
    if numbers.data is None:
        return torch.empty(0, dtype=numbers.dtype)
    tensor = torch.empty(0, dtype=numbers.dtype, device=numbers.data.device).set_(numbers.data, offset, size, stride)
    return tensor.requires_grad_() if requires_grad is True else tensor


def _tensor_of_type(numbers: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
                    metadata: Any = None) -> Tensor:
    """For the types that have no storage of their own: numbers are bytes here."""
    width = torch.empty(0, dtype=require(dtype, torch.dtype)).element_size()
    own = Numbers(dtype, require(numbers, Numbers).count // width, numbers.data)
    return _tensor(own, offset, size, stride, requires_grad, hooks, metadata)


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> nn.Parameter:
    return nn.Parameter(require(data, Tensor), requires_grad is True)


def _tensor_with_attributes(build: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    """The tensor; what hung on it is dropped."""
    if build not in TENSORS.values():
        raise UnfitError('is refused, and nothing of it was run: it has a tensor made by a function that is none')
    return build.build(*require(arguments, tuple))


def set_versions(state_dict: OrderedDict, state: Any) -> None:
    """Give a state dict the versions of modules, which PyTorch keeps beside the weights."""
    versions = require(state, dict).get('_metadata')
    if isinstance(versions, dict) and all(isinstance(value, dict) for value in versions.values()):
        state_dict._metadata = versions  # type: ignore[attr-defined]


# What mmengine stores.


def _dtype(kind: Any, *_: Any) -> np.dtype:
    if not NUMPY_TYPE.fullmatch(require(kind, str)):
        raise UnfitError(f"has a NumPy array of type '{kind[:50]}', where numbers and texts may stand")
    return np.dtype(kind)


def _array(kind: Any, *_: Any) -> np.ndarray:
    if kind is not CONSTRUCTORS['numpy.ndarray']:
        raise UnfitError('makes a NumPy array of a class of its own')
    return np.ndarray((0, ), 'b')


def set_array(array: np.ndarray, state: Any) -> None:
    """Give a new NumPy array its shape, type and values."""
    version, shape, dtype, fortran, content = require(state, tuple)
    if isinstance(content, str):  # pickled by Python 2
        content = content.encode('latin1')
    if array.shape != (0, ) or not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
        raise UnfitError('has a NumPy array of something else than numbers and texts')
    if len(shape) > MOST_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise UnfitError(f'has a NumPy array of shape {shape!r:.100}')
    if prod(shape) * dtype.itemsize != len(content):
        raise UnfitError(f'has a NumPy array of shape {shape!r:.100} made of {len(content)} bytes')
    array.__setstate__((version, shape, dtype, bool(fortran), content))


def _scalar(dtype: Any, content: Any) -> np.generic:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or len(require(content, bytes)) != dtype.itemsize:
        raise UnfitError('has a NumPy scalar of something else than a number or a text')
    return np.frombuffer(content, dtype)[0]


def _history() -> HistoryBuffer:
    return HistoryBuffer.__new__(HistoryBuffer)


def set_history(history: HistoryBuffer, state: Any) -> None:
    """Give a new log of mmengine's its values."""
    values = {name: require(state, dict).get(name) for name in ('max_length', '_log_history', '_count_history')}
    logs, counts = values['_log_history'], values['_count_history']
    if type(values['max_length']) is not int or not all(isinstance(each, np.ndarray) and each.ndim == 1
                                                        and each.dtype.kind in 'biuf' for each in (logs, counts)):
        raise UnfitError("has a log (mmengine's HistoryBuffer) of something else than numbers")
    vars(history).update(values)
    history._set_default_statistics()


def _attribute(owner: Any, name: Any) -> Any:
    """For ``getattr``: the functions that mmengine keeps in states, and no other attribute of anything."""
    for stored, kind, names in ATTRIBUTES:
        if owner is CONSTRUCTORS[stored] and name in names:
            return getattr(kind, name)
    raise UnfitError('is refused, and nothing of it was run: it is not made of weights alone, loading it would call '
                     f'builtins.getattr for {name!r:.90}')


HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'
ATTRIBUTES = (  # of a log, and of a scheduler
    (HISTORY, HistoryBuffer, ('min', 'max', 'mean', 'current')),
    (ONE_CYCLE, OneCycleLR, ('_annealing_cos', '_annealing_linear')),
)
TENSORS = {
    'torch._utils._rebuild_tensor': Constructor(_tensor),
    'torch._utils._rebuild_tensor_v2': Constructor(_tensor),
    'torch._utils._rebuild_tensor_v3': Constructor(_tensor_of_type),
    'torch._utils._rebuild_parameter': Constructor(_parameter),
    'torch._utils._rebuild_parameter_with_state': Constructor(_parameter),
}
CONSTRUCTORS = {
    **TENSORS,
    'torch._tensor._rebuild_from_type_v2': Constructor(_tensor_with_attributes),
    **{name: Constructor(_class) for name in ('torch.Tensor', 'torch.nn.parameter.Parameter', 'numpy.ndarray',
                                              ONE_CYCLE)},
    'torch.Size': Constructor(_size), 'torch.device': Constructor(_device),
    'collections.OrderedDict': Constructor(_ordered_dict), 'collections.Counter': Constructor(_counter),
    'builtins.set': Constructor(_set), 'builtins.bytearray': Constructor(_bytearray),
    'builtins.bytes': Constructor(_bytes),
    'builtins.complex': _number(complex), 'builtins.slice': _number(slice),
    'builtins.getattr': Constructor(_attribute), '_codecs.encode': Constructor(_encode),
    'numpy.dtype': Constructor(_dtype), 'numpy.core.multiarray._reconstruct': Constructor(_array),
    'numpy.core.multiarray.scalar': Constructor(_scalar),
    HISTORY: Constructor(_history),
}
# Those that make NumPy arrays, and what they take.
ARRAYS = tuple(CONSTRUCTORS[name] for name in ('numpy.ndarray', 'numpy.dtype', 'numpy.core.multiarray._reconstruct',
                                               '_codecs.encode', 'builtins.bytes', 'collections.OrderedDict'))
