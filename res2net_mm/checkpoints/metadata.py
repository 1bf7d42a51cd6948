"""What a checkpoint says of its data, as text in the header of a safetensors file, and back without loss.

JSON alone makes lists of tuples and texts of numbers that are keys. mmdet's visualizer takes a list of numbers for
several colours and a tuple for one, and mmpose looks keypoints up by their number.
"""
from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..utils.errors import CheckpointError
from .archives import DamagedError

KEY = 'res2net_mm.meta'  # in the header, beside safetensors' own 'format'
TUPLE, ITEMS, ARRAY = '!tuple', '!items', '!array'  # the only key of a JSON object that stands for something else


def encode_meta(meta: dict[str, Any]) -> str:
    """Write the ``meta`` of a checkpoint as JSON.

    Args:
        meta (dict): Texts, numbers, True, False, None and NumPy arrays of numbers, in dicts, lists and tuples.

    Raises:
        ValueError: If it holds anything else.
    """
    return json.dumps(_encode(meta, 'meta'))


def decode_meta(text: str) -> dict[str, Any]:
    """Read what ``encode_meta`` has written.

    Raises:
        DamagedError: If the text is something else.
    """
    try:
        meta = json.loads(text, object_hook=_decode)
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedError(f'safetensors: its {KEY} cannot be read: {error}') from error
    if not isinstance(meta, dict):
        raise DamagedError(f'safetensors: its {KEY} is no dict')
    return meta


def _encode(value: Any, name: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_encode(item, f'{name}[{i}]') for i, item in enumerate(value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return {ARRAY: [value.dtype.str, list(value.shape), value.ravel().tolist()]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith('!') for key in value):
            return {key: _encode(item, f'{name}.{key}') for key, item in value.items()}
        return {ITEMS: [[_encode(key, name), _encode(item, f'{name}.{key}')] for key, item in value.items()]}
    raise CheckpointError(f'{name} of the checkpoint is a {type(value).__name__}; in safetensors it must be a text, a '
                          'number or an array of numbers')


def _decode(value: dict[str, Any]) -> Any:
    kind = next(iter(value)) if len(value) == 1 else ''
    if kind == TUPLE:
        return tuple(value[kind])
    if kind == ITEMS:
        return dict(value[kind])
    if kind == ARRAY:
        type_, shape, numbers = value[kind]
        dtype = np.dtype(type_)
        if dtype.kind not in 'biuf':
            raise ValueError(f'an array of {type_!r:.20}')
        return np.array(numbers, dtype).reshape(shape)
    return value
