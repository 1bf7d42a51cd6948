"""The header of a file in safetensors format, checked before the library of that name is asked for the tensors."""
from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from .archives import DamagedError
from .constructors import UnfitError

MOST_BYTES = 1 << 25  # a thousand tensors take a tenth of a megabyte
BITS = dict(BOOL=8, U8=8, I8=8, F8_E4M3=8, F8_E5M2=8, U16=16, I16=16, F16=16, BF16=16, U32=32, I32=32, F32=32, U64=64,
            I64=64, F64=64)


def is_safetensors(start: bytes, suffix: str) -> bool:
    """Whether a file is in safetensors format, if the JSON in it begins after the eight bytes of its length.

    Args:
        start (bytes): The first bytes of the file.
        suffix (str): Of its name; it decides for a length that could as well be text.
    """
    return start[8:9] == b'{' and (suffix == '.safetensors' or int.from_bytes(start[:8], 'little') < 1 << 40)


def check_header(path: Path) -> None:
    """Check the names, types, shapes and places of the tensors in a file.

    Args:
        path (Path): The file.

    Raises:
        UnfitError, DamagedError: If they are not those of tensors one behind the other, up to the end of the file.
    """
    size = path.stat().st_size
    with open(path, 'rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > size - 8:
            raise DamagedError(f'safetensors: its header has {length} bytes, more than the file')
        if length > MOST_BYTES:
            raise UnfitError(f'has a safetensors header of {length} bytes, where {MOST_BYTES} are allowed')
        try:
            header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
        except RecursionError as error:
            raise UnfitError('has a safetensors header that is nested too deep') from error
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DamagedError(f'safetensors: its header is no JSON: {error}') from error
    tensors = {name: entry for name, entry in header.items() if name != '__metadata__'}
    places = sorted((_place(name, entry), name) for name, entry in tensors.items())
    end = 0
    for (start, stop), name in places:
        if start != end:
            how = 'overlap' if start < end else 'leave a hole'
            raise UnfitError(f"has safetensors that {how} before '{name[:100]}'")
        end = stop
    if end != size - 8 - length:
        raise DamagedError(f'safetensors: its tensors have {end} bytes, and {size - 8 - length} are there')


def sort_metadata(content: bytes) -> bytes:
    """Sort the metadata in the header of a file: its library writes them in another order each time.

    Args:
        content (bytes): The whole file.

    Returns:
        bytes: A file with the same tensors and metadata, and with the same bytes each time.
    """
    end = 8 + int.from_bytes(content[:8], 'little')
    header = json.loads(content[8:end])
    header['__metadata__'] = dict(sorted(header['__metadata__'].items()))
    text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
    text += b' ' * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, 'little') + text + content[end:]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise UnfitError('has a safetensors header with the same name twice')
    return names


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor starts and ends."""
    try:
        kind, shape, (start, stop) = entry['dtype'], entry['shape'], entry['data_offsets']
    except (TypeError, KeyError, ValueError) as error:
        raise UnfitError(f"has a safetensors header without dtype, shape or data_offsets of '{name[:100]}'") from error
    if kind not in BITS:
        raise UnfitError(f"has safetensors of the unknown or unusable type {kind!r:.50} ('{name[:100]}')")
    if any(type(value) is not int or value < 0 for value in (start, stop, *shape)):
        raise UnfitError(f"has safetensors with a shape or an offset that is no size ('{name[:100]}')")
    if prod(shape) * BITS[kind] != (stop - start) * 8:
        raise UnfitError(f"has safetensors of shape {shape!r:.100} in {stop - start} bytes ('{name[:100]}')")
    return start, stop
