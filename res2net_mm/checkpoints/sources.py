"""Checkpoints that are not local files: loaders for the schemes of mmengine's, with our downloads and our reader.

The tables of names are mmengine's own. Its loaders would unpickle what they fetched without protection.
"""
from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping

from mmengine.fileio import get_file_backend
from mmengine.runner import checkpoint as mmengine_checkpoint

from ..utils.errors import CheckpointError
from ..utils.text import did_you_mean
from .archives import MapLocation
from .hub import fetch_in_turn, fetch_url
from .reading import read_checkpoint


def read_without_configs(path: str | Path, map_location: MapLocation = None) -> dict:
    """Read a file for mmengine, whose inferencers execute the config in a checkpoint if they are given none.

    Args:
        path (str | Path): The file.
        map_location (MapLocation): As for ``torch.load``. Defaults to None.

    Returns:
        dict: What the file holds, without ``meta['cfg']`` and ``message_hub['runtime_info']['cfg']``.

    Raises:
        OSError, ValueError: As ``read_checkpoint``.
    """
    checkpoint = read_checkpoint(path, map_location)
    hub = checkpoint.get('message_hub')
    for holder in (checkpoint.get('meta'), hub.get('runtime_info') if isinstance(hub, dict) else None):
        if isinstance(holder, dict):
            holder.pop('cfg', None)
    return checkpoint


def load_from_http(filename: str, map_location: MapLocation = None) -> dict:
    """Load from an address; in a distributed run only the first process downloads.

    Args:
        filename (str): The address, http or https.
        map_location (MapLocation): As for ``torch.load``. Defaults to None.

    Raises:
        OSError, ValueError: If it cannot be had or read.
    """
    return read_without_configs(fetch_in_turn(partial(fetch_url, filename)), map_location)


def load_from_torchvision(filename: str, map_location: MapLocation = None) -> dict:
    """Load ``torchvision://NAME`` or ``modelzoo://NAME``. Errors are those of ``load_from_http``."""
    return load_from_http(_look_up(filename, mmengine_checkpoint.get_torchvision_models()), map_location)


def load_from_openmmlab(filename: str, map_location: MapLocation = None) -> dict:
    """Load ``open-mmlab://NAME`` or ``openmmlab://NAME``. Errors are those of ``load_from_http``.

    Names may also be in mmengine's folder, in a file ``open_mmlab.json``, there also those of local files.
    """
    scheme, name = filename.split('://', 1)
    name = mmengine_checkpoint.get_deprecated_model_names().get(name, name)
    address = _look_up(f'{scheme}://{name}', mmengine_checkpoint.get_external_models())
    if address.startswith(('http://', 'https://')):
        return load_from_http(address, map_location)
    return read_without_configs(Path(mmengine_checkpoint._get_mmengine_home()) / address, map_location)


def load_from_mmcls(filename: str, map_location: MapLocation = None) -> dict:
    """Load the backbone of ``mmcls://NAME``. Errors are those of ``load_from_http``."""
    checkpoint = load_from_http(_look_up(filename, mmengine_checkpoint.get_mmcls_models()), map_location)
    return mmengine_checkpoint._process_mmcls_checkpoint(checkpoint)


def load_from_ceph(filename: str, map_location: MapLocation = None) -> dict:
    """Load ``s3://...`` or ``petrel://...`` through mmengine's file backend, which needs the package of that name.

    Args:
        filename (str): The address.
        map_location (MapLocation): As for ``torch.load``. Defaults to None.

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    backend = get_file_backend(filename, backend_args={'backend': 'petrel'})
    with tempfile.NamedTemporaryFile(suffix=f'-{Path(filename).name}') as file:
        file.write(backend.get(filename))
        file.flush()
        return read_without_configs(file.name, map_location)


def load_from_pavi(filename: str, map_location: MapLocation = None) -> dict:
    """Refuse ``pavi://...``, a service that is not public.

    Raises:
        ValueError: Always.
    """
    raise CheckpointError(f"checkpoint '{filename}': pavi:// is not supported; download the file, and give its path")


def _look_up(filename: str, addresses: Mapping[str, str]) -> str:
    scheme, name = filename.split('://', 1)
    if name not in addresses:
        told = {other: f'{scheme}://{other}' for other in addresses}
        raise CheckpointError(f"checkpoint '{filename}': no weights of that name"
                              + did_you_mean(name, addresses, told, form='; {}'))
    return addresses[name]


LOADERS: dict[str, Callable[..., Any]] = {  # by mmengine's patterns
    'http://': load_from_http, 'https://': load_from_http,
    'torchvision://': load_from_torchvision, 'modelzoo://': load_from_torchvision,
    'open-mmlab://': load_from_openmmlab, 'openmmlab://': load_from_openmmlab,
    'mmcls://': load_from_mmcls, 'pavi://': load_from_pavi,
    r'(\S+\:)?s3://': load_from_ceph, r'(\S+\:)?petrel://': load_from_ceph,
}
