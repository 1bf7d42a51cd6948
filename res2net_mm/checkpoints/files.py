"""Checkpoint files: read without running anything that is in them, and written whole or not at all."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

import torch
from mmengine.runner import CheckpointLoader

from ..utils.whole_file import whole_file
from .archives import MapLocation
from .metadata import KEY, encode_meta
from .pdparams import write_pdparams
from .reading import read_checkpoint, set_trust
from .safetensors_header import sort_metadata
from .sources import LOADERS, read_without_configs

SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors', '.pdparams')
WEIGHTS_ONLY = ('.safetensors', '.pdparams')  # nothing can stand around the weights
__all__ = ['SUFFIXES', 'WEIGHTS_ONLY', 'has_training_state', 'install_reader', 'load_checkpoint', 'load_from_local',
           'read_checkpoint', 'uninstall_reader', 'write_checkpoint']
_replaced: dict[str, Callable[..., Any]] = {}  # mmengine's loaders, while ours are in their places


def has_training_state(checkpoint: dict) -> bool:
    """Whether training can be resumed from a checkpoint, with its iteration, optimizer and logs."""
    meta = checkpoint.get('meta')
    return (isinstance(meta, dict) and {'epoch', 'iter'} <= set(meta)
            and all(isinstance(checkpoint.get(name), dict) for name in ('optimizer', 'message_hub')))


def write_checkpoint(checkpoint: dict, path: str | Path, force: bool = False) -> None:
    """Write a checkpoint so that ``path`` is never half a file.

    Args:
        checkpoint (dict): Weights by name, or a dict of them as ``state_dict``, and ``meta``; for PyTorch's format
            also any other dict around them.
        path (str | Path): The file; its suffix, one of ``SUFFIXES``, chooses the format.
        force (bool): Replace an existing file. Defaults to False.

    Raises:
        ValueError: If the suffix is another one.
        FileNotFoundError: If the folder does not exist.
        FileExistsError: If the file exists and ``force`` is not given.
        NoSpaceError: If the disk is full.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"'{path}' must end with one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder '{path.parent}' does not exist")
    if path.exists() and not force:
        raise FileExistsError(f"'{path}' exists already")
    with whole_file(path) as file:
        if path.suffix == '.safetensors':
            from safetensors.torch import save
            meta, weights = {}, checkpoint
            if isinstance(checkpoint.get('state_dict'), dict):
                meta, weights = {KEY: encode_meta(checkpoint.get('meta', {}))}, checkpoint['state_dict']
            # It takes neither views nor weights that share memory.
            weights = {key: value.clone().contiguous() for key, value in weights.items()}
            file.write(sort_metadata(save(weights, metadata={'format': 'pt', **meta})))
        elif path.suffix == '.pdparams':
            write_pdparams(checkpoint, file)
        else:
            torch.save(checkpoint, file)


def load_from_local(filename: str | Path, map_location: MapLocation = None) -> dict:
    """Read a local file as mmengine's loader of that name, but safely, and safetensors, too.

    Args:
        filename (str | Path): The file.
        map_location (MapLocation): As for ``torch.load``. Defaults to None.

    Returns:
        dict: What the file holds, without the configs that mmengine would execute.

    Raises:
        OSError, ValueError: As ``read_checkpoint``.
    """
    return read_without_configs(filename, map_location)


def load_checkpoint(source: str | Path, map_location: MapLocation = None) -> dict:
    """Read a checkpoint from wherever a config may say it is, with our reader, whatever loaders mmengine has.

    Args:
        source (str | Path): A local file, or an address of a scheme that mmengine knows. A scheme that somebody else
            has registered there is theirs.
        map_location (MapLocation): As for ``torch.load``. Defaults to None.

    Returns:
        dict: What the file holds, without the configs that mmengine would execute.

    Raises:
        OSError, ValueError: If it cannot be had or read.
    """
    if '://' not in str(source):
        return load_from_local(source, map_location)
    loader = next((loader for pattern, loader in LOADERS.items() if re.match(pattern, str(source))), None)
    return loader(str(source), map_location) if loader else CheckpointLoader.load_checkpoint(str(source), map_location)


def install_reader(trust: bool = False) -> None:
    """Have mmengine read checkpoints of every source with our reader, in this process: ``load_from``, ``resume``, all.

    ``tools/train.py`` and ``tools/test.py`` call it; importing this package does not.

    Args:
        trust (bool): Let pickles run what is in them, for files whose author the user trusts, until
            ``uninstall_reader`` or the next call. Defaults to False.
    """
    set_trust(trust)
    for pattern, loader in {**LOADERS, '': load_from_local}.items():
        present = CheckpointLoader._schemes.get(pattern)
        if present is not loader:
            if present is not None:
                _replaced[pattern] = present
            CheckpointLoader.register_scheme(prefixes=pattern, loader=loader, force=True)


def uninstall_reader() -> None:
    """Give mmengine its own loaders back, and trust no file."""
    set_trust(False)
    for pattern, loader in _replaced.items():
        CheckpointLoader.register_scheme(prefixes=pattern, loader=loader, force=True)
    _replaced.clear()
