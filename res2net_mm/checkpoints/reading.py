"""Reading checkpoint files without running anything that is in them."""
from __future__ import annotations

import string
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import CheckpointError, MissingCheckpointError
from .archives import MAGIC, DamagedError, MapLocation, read_archive, read_pickles
from .constructors import ForeignError, UnfitError
from .contents import check_contents, list_tensors
from .metadata import KEY, decode_meta
from .pdparams import read_pdparams
from .safetensors_header import check_header, is_safetensors

# The first bytes of files that are often taken for a checkpoint by mistake.
BEGINNINGS = {
    b'version https://git-lfs': 'a Git LFS pointer; fetch the file itself with: git lfs pull',
    b'<': 'a web page (HTML or XML); the download brought an error page instead of the file',
    b'\x1f\x8b': 'compressed with gzip; decompress it first',
    b'\x89HDF': 'an HDF5 file, as Keras writes them',
    b'\x93NUMPY': 'a NumPy array',
}
MAGIC_ENDS = 64  # bytes of a pickle, among which the first of PyTorch's older format has its number
_trust = False


def set_trust(trust: bool) -> None:
    """Choose for this process whether pickles may run code, as the user may allow for files of their own."""
    global _trust
    _trust = trust


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu') -> dict:
    """Read a file of PyTorch (.pth, .pt, .bin, in its new and its old format), of safetensors or of Paddle (.pdparams).

    The format is recognised by the file's content, whatever its name. Of a pickle nothing is run (unless ``set_trust``
    says so); what mmengine's training checkpoints hold beside tensors is allowed. ``meta['config']``, a text that
    mmengine would execute when it resumes, is dropped, always.

    Args:
        path (str | Path): The file.
        map_location (Any): As for ``torch.load``; safetensors and Paddle's stay on the CPU. Defaults to 'cpu'.

    Returns:
        dict: What the file holds: weights by name, or a training checkpoint around them
        (``res2net_mm.checkpoints.loading.unwrap``). Safetensors that we have published are a dict of ``meta``
        and ``state_dict``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, truncated, damaged, not a checkpoint, without weights, would run code, or holds
            weights that cannot be used: sparse, quantized, complex, not finite.
    """
    path = Path(path).expanduser()
    start = _read_start(path)
    try:
        checkpoint = _read(path, start, map_location)
        check_contents(checkpoint)
    except Exception as error:  # what a damaged file leads to is of every kind
        raise _explained(path, error) from error
    if not isinstance(checkpoint, dict) or not list_tensors(checkpoint):
        raise CheckpointError(f"checkpoint '{path}' holds no weights: {_summary(checkpoint)}")
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def check_format(path: str | Path) -> None:
    """Check that a file begins, and as far as its format tells ends, as a checkpoint does.

    Args:
        path (str | Path): The file.

    Raises:
        OSError, ValueError: As ``read_checkpoint``.
    """
    path = Path(path).expanduser()
    start = _read_start(path)
    try:
        _check_format(path, start)
    except Exception as error:
        raise _explained(path, error) from error


def _read_start(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"checkpoint '{path}' is a folder, not a file")
    if not path.is_file():
        raise MissingCheckpointError(f"checkpoint '{path}' does not exist")
    with open(path, 'rb') as file:
        start = file.read(512)
    if not start:
        raise CheckpointError(f"checkpoint '{path}' is empty (0 bytes)")
    return start


def _check_format(path: Path, start: bytes) -> None:
    if is_safetensors(start, path.suffix):
        check_header(path)
    elif start.startswith(b'PK'):
        if not zipfile.is_zipfile(path):
            raise DamagedError('the end of the archive is missing')
    elif start[257:262] == b'ustar':
        raise UnfitError('is in the .tar format of before PyTorch 0.2, which is read only by running what is in it. '
                         'Where you trust it, load it with PyTorch 1 and save it again')
    elif not start.startswith(b'\x80'):  # how every pickle begins
        raise ForeignError(_kind(start))


def _read(path: Path, start: bytes, map_location: MapLocation) -> Any:
    _check_format(path, start)
    if is_safetensors(start, path.suffix):
        return _read_safetensors(path)
    if not start.startswith(b'PK') and MAGIC.to_bytes(10, 'little') not in start[:MAGIC_ENDS]:
        return read_pdparams(path)
    if _trust:
        with open(path, 'rb') as file:  # a path that ends with .safetensors would send torch.load to that format
            return torch.load(file, map_location=map_location, weights_only=False)
    return (read_archive if start.startswith(b'PK') else read_pickles)(path, map_location)


def _read_safetensors(path: Path) -> dict[str, Tensor] | dict[str, dict]:
    try:
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file
    except ImportError as error:
        raise UnfitError('is in safetensors format; first: pip install safetensors') from error
    try:
        weights = load_file(str(path))
        with safe_open(str(path), framework='pt') as file:
            meta = (file.metadata() or {}).get(KEY)
    except SafetensorError as error:
        raise DamagedError(f'safetensors: {error}') from error
    return weights if meta is None else dict(meta=decode_meta(meta), state_dict=weights)


def _explained(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, UnfitError):
        return CheckpointError(f"checkpoint '{path}' {error}")
    if isinstance(error, ForeignError):
        return CheckpointError(f"'{path}' is not a checkpoint: it is {error}")
    text = str(error).splitlines()[0][:200] if str(error) else ''
    how = text if isinstance(error, DamagedError) else f'{type(error).__name__} {text}'
    return CheckpointError(f"checkpoint '{path}' is truncated or damaged ({path.stat().st_size} bytes; {how}); fetch "
                           'it again')


def _kind(start: bytes) -> str:
    for beginning, kind in BEGINNINGS.items():
        if start.lstrip().startswith(beginning):
            return kind
    text = all(chr(byte) in string.printable for byte in start[:64])
    return f'{"a text file" if text else "of an unknown format"} that begins with {start[:16]!r}'


def _summary(checkpoint: object) -> str:
    if isinstance(checkpoint, dict):
        return f'only {", ".join(map(str, list(checkpoint)[:8]))[:300] or "an empty dict"}'
    return f'it is a {type(checkpoint).__name__}'
