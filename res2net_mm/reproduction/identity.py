"""What makes two runs the same: the config, its batch over all devices, and the learning rate as it is scaled for that.

Where the data and the outputs are, and how many processes load the data, makes no difference. Data is told apart by the
names in it: a folder that is given is taken for the dataset of the config, wherever it lies.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

# Of the machine, wherever they are in a config.
MACHINE_KEYS = {'work_dir', 'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'launcher',
                'log_level', 'resume'}


def total_batch_size(cfg: Mapping[str, Any], devices: int) -> int | None:
    """Images per iteration over all devices; None if the config does not say how many there are on one."""
    per_device = cfg['train_dataloader'].get('batch_size')
    return per_device and per_device * devices


def run_identity(cfg: Mapping[str, Any], devices: int) -> dict[str, Any]:
    """The part of a config by which its runs are told apart.

    Args:
        cfg (Mapping[str, Any]): The whole config as it is run, ``Config.to_dict()``; it stays as it is.
        devices (int): How many devices train, each with the config's batch.

    Returns:
        dict[str, Any]: The config without what is of the machine, with the paths of the data relative to its root, the
        batch over all devices in ``train_dataloader.batch_size``, and the scaled learning rate, if
        ``auto_scale_lr.base_batch_size`` says that it is scaled.
    """
    identity = experiment_identity(cfg)
    batch = total_batch_size(cfg, devices)
    if batch is None:
        return {**identity, 'devices': devices}
    identity['train_dataloader']['batch_size'] = batch
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    optimizer = (identity.get('optim_wrapper') or {}).get('optimizer') or {}
    if base and isinstance(optimizer.get('lr'), (int, float)):
        optimizer['lr'] = float(f'{optimizer["lr"] * batch / base:.9g}')  # what was rounded on the way is the same
        del identity['auto_scale_lr']
    return identity


def experiment_identity(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """``run_identity`` without the batch: the same for runs that differ in their devices or their batch alone."""
    roots = list(dict.fromkeys(_data_roots(cfg)))
    identity = _portable(cfg, roots)
    identity['train_dataloader'].pop('batch_size', None)
    return identity


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of a config's identity."""
    text = json.dumps(identity, default=_text, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(value: Any) -> str:
    """A type or function of a config: by its name, as its address is another one in every process."""
    return f'{value.__module__}.{value.__qualname__}' if hasattr(value, '__qualname__') else str(value)


def _data_roots(value: Any) -> Iterator[str]:
    """Every ``data_root`` in a config, in order."""
    if isinstance(value, Mapping):
        root = value.get('data_root')
        if isinstance(root, str) and root.rstrip('/'):
            yield root.rstrip('/')
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ():
        yield from _data_roots(item)


def _portable(value: Any, roots: list[str]) -> Any:
    """A config without what is of the machine, and with a number in place of every root of data."""
    if isinstance(value, Mapping):
        return {str(key): _portable(item, roots) for key, item in value.items() if key not in MACHINE_KEYS}
    if isinstance(value, (list, tuple)):
        return [_portable(item, roots) for item in value]
    if isinstance(value, str):
        for root in sorted(roots, key=len, reverse=True):
            if f'{value}/'.startswith(f'{root}/'):
                return f'DATA{roots.index(root)}/{value[len(root):].strip("/")}'
    return value
