"""Checkpoint files: read without running anything that is in them, and written whole or not at all."""
from __future__ import annotations

import os
import re
import string
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
# The first bytes of files that are often taken for a checkpoint by mistake.
BEGINNINGS = {
    b'version https://git-lfs': 'a Git LFS pointer; fetch the file itself with: git lfs pull',
    b'<': 'a web page (HTML or XML); the download brought an error page instead of the file',
    b'\x1f\x8b': 'compressed with gzip; decompress it first',
    b'\x89HDF': 'an HDF5 file, as Keras writes them',
    b'\x93NUMPY': 'a NumPy array',
}
# torch before 2.5 cannot be told what else, beside tensors, is harmless: what mmengine puts into training checkpoints.
CAN_ALLOW = hasattr(torch.serialization, 'safe_globals')


def read_checkpoint(path: str | Path, map_location: str | torch.device | None = 'cpu') -> dict:
    """Read a file of PyTorch (.pth, .pt, .bin, in its new and its old format) or safetensors.

    The format is recognised by the file's content, whatever its name. Of a pickle nothing is run
    (``weights_only=True``); what mmengine's training checkpoints hold beside tensors is allowed.

    Args:
        path (str | Path): The file.
        map_location (str | torch.device | None): As for ``torch.load``; safetensors stay on the CPU. Defaults to 'cpu'.

    Returns:
        dict: What the file holds: weights by name, or a training checkpoint around them
        (``res2net_mm.checkpoints.loading.unwrap``).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is empty, truncated, damaged, not a checkpoint, without weights, or would run code.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"checkpoint '{path}' is a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint '{path}' does not exist")
    with open(path, 'rb') as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"checkpoint '{path}' is empty (0 bytes)")
    if start[8:9] == b'{' and int.from_bytes(start[:8], 'little') < 1e8:  # the length of safetensors' JSON header
        checkpoint = _read_safetensors(path)
    else:
        checkpoint = _read_torch(path, start, map_location)
    if not _holds_tensors(checkpoint):
        raise ValueError(f"checkpoint '{path}' holds no weights: {_summary(checkpoint)}")
    return checkpoint


def _read_safetensors(path: Path) -> dict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(f"checkpoint '{path}' is in safetensors format; first: pip install safetensors") from error
    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise _damaged(path, f'safetensors: {error}') from error


def _read_torch(path: Path, start: bytes, map_location: str | torch.device | None) -> dict:
    if start.startswith(b'PK'):
        _check_archive(path)
    elif not start.startswith(b'\x80'):  # how every pickle begins
        raise ValueError(f"'{path}' is not a checkpoint: it is {_kind(start)}")
    try:
        # As an open file: a path that ends with .safetensors would send torch.load to that format.
        with open(path, 'rb') as file, torch.serialization.safe_globals(_harmless()) if CAN_ALLOW else nullcontext():
            return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:  # torch.load fails in many ways on a file that is not whole
        refused = re.search(r'GLOBAL ([\w.]+)', str(error))
        if refused:
            raise ValueError(
                f"checkpoint '{path}' is refused, and nothing of it was run: it is not made of weights alone, loading "
                f'it would call {refused[1]}. A model that was pickled whole looks like this, and so does malicious '
                'code. Where it comes from, save the weights: torch.save(model.state_dict(), FILE)') from error
        if 'Unsupported operand' in str(error):
            raise ValueError(f"'{path}' is not a checkpoint: it is a pickle, but not one of PyTorch's; nothing of it "
                             'was run') from error
        raise _damaged(path, f'{type(error).__name__} {str(error).splitlines()[0] if str(error) else ""}') from error


def _harmless() -> list:
    """What training checkpoints hold beside tensors: mmengine's list, and the arrays of mmpose's dataset_meta."""
    mmengines: list = getattr(mmengine_checkpoint, 'get_torch_safe_globals', list)()
    return mmengines + [type(np.dtype(kind)) for kind in ('bool', 'uint8', 'int32', 'float32')]


def _check_archive(path: Path) -> None:
    """Look at an archive before torch does, which would not notice a changed byte in a weight."""
    if not zipfile.is_zipfile(path):
        raise _damaged(path, 'the end of the archive is missing')
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith('constants.pkl') for name in archive.namelist()):
            raise ValueError(f"'{path}' is not a checkpoint: it is a TorchScript program; save the model's "
                             'state_dict() instead')
        if not any(name.endswith('data.pkl') for name in archive.namelist()):
            raise ValueError(f"'{path}' is not a checkpoint: it is a zip archive of something else "
                             f'({", ".join(archive.namelist()[:3])}, ...)')
        try:
            broken = archive.testzip()
        except Exception as error:  # a damaged header
            raise _damaged(path, error) from error
    if broken:
        raise _damaged(path, f'the checksum of {broken} is wrong')


def _damaged(path: Path, how: object) -> ValueError:
    return ValueError(f"checkpoint '{path}' is truncated or damaged ({path.stat().st_size} bytes; {how}); fetch it "
                      'again')


def _kind(start: bytes) -> str:
    for beginning, kind in BEGINNINGS.items():
        if start.lstrip().startswith(beginning):
            return kind
    text = all(chr(byte) in string.printable for byte in start)
    return f'{"a text file" if text else "of an unknown format"} that begins with {start[:16]!r}'


def _holds_tensors(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_tensors(item) for item in value.values())
    return isinstance(value, torch.Tensor)


def _summary(checkpoint: object) -> str:
    if isinstance(checkpoint, dict):
        return f'only {", ".join(map(str, list(checkpoint)[:8])) or "an empty dict"}'
    return f'it is a {type(checkpoint).__name__}'


def write_checkpoint(checkpoint: dict, path: str | Path, force: bool = False) -> None:
    """Write a checkpoint so that ``path`` is never half a file: beside it first, then renamed.

    Args:
        checkpoint (dict): Weights by name; for PyTorch's format also a dict around them.
        path (str | Path): The file; its suffix, one of ``SUFFIXES``, chooses the format.
        force (bool): Replace an existing file. Defaults to False.

    Raises:
        ValueError: If the suffix is another one.
        FileNotFoundError: If the folder does not exist.
        FileExistsError: If the file exists and ``force`` is not given.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"'{path}' must end with one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder '{path.parent}' does not exist")
    if path.exists() and not force:
        raise FileExistsError(f"'{path}' exists already")
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}.unfinished')
    try:
        with open(unfinished, 'wb') as file:
            if path.suffix == '.safetensors':
                from safetensors.torch import save
                # It takes neither views nor weights that share memory.
                weights = {key: value.clone().contiguous() for key, value in checkpoint.items()}
                file.write(save(weights, metadata={'format': 'pt'}))
            else:
                torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_from_local(filename: str | Path, map_location: str | torch.device | None = None) -> dict:
    """Read a local file as mmengine's reader of that name, but safely.

    mmengine's does not know safetensors, and unpickles without protection what ``weights_only=True`` refuses.

    Args:
        filename (str | Path): The file.
        map_location (str | torch.device | None): As for ``torch.load``. Defaults to None.

    Returns:
        dict: What the file holds.

    Raises:
        OSError, ValueError: As ``read_checkpoint``.
    """
    if CAN_ALLOW or str(filename).endswith('.safetensors'):
        return read_checkpoint(filename, map_location)
    return mmengine_checkpoint.load_from_local(str(filename), map_location)


def install_reader() -> None:
    """Have mmengine read local files with ``load_from_local`` above, in this process: ``load_from``, ``resume``, all.

    ``tools/train.py`` and ``tools/test.py`` call it; importing this package does not. A second call changes nothing.
    """
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)


def uninstall_reader() -> None:
    """Give mmengine its own reader of local files back."""
    CheckpointLoader.register_scheme(prefixes='', loader=mmengine_checkpoint.load_from_local, force=True)
