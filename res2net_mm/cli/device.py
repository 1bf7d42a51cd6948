"""``--device``: the GPU or the CPU that a command runs on.

mmengine decides for a device when its Runner is imported, and that import also brings torch. So a command reads
``--device`` first, calls ``choose_device``, and only then imports what needs either.

INDEX counts the GPUs that are visible, as it does everywhere in PyTorch: under ``CUDA_VISIBLE_DEVICES=2,3`` the GPU of
``cuda:1`` is 3.
"""
from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ..utils.errors import UserError

if TYPE_CHECKING:
    import torch

VISIBLE = 'CUDA_VISIBLE_DEVICES'
STARTED_WITH = os.environ.get(VISIBLE)  # so that a second command of one process counts the same GPUs


def choose_device(name: str | None) -> None:
    """Have mmengine use a device as the first that is visible; call it before mmengine.device is imported.

    Args:
        name (str | None): cpu, cuda or cuda:INDEX; None: a GPU if there is one.

    Raises:
        UserError: If it is of another form, or there is no such GPU.
    """
    kind, index = split_device(name)
    if kind == 'cpu':
        os.environ[VISIBLE] = ''
    elif index is not None:
        visible = visible_devices()
        if visible is not None and index >= len(visible):
            raise no_such_device(name)
        os.environ[VISIBLE] = str(index) if visible is None else visible[index]
    if kind == 'cuda':
        import torch
        if not torch.cuda.device_count():
            raise no_such_device(name)


def torch_device(name: str | None) -> torch.device:
    """The torch.device of ``--device``; imports torch.

    Args:
        name (str | None): cpu, cuda or cuda:INDEX; None: a GPU if there is one.

    Raises:
        UserError: If it is of another form, or there is no such GPU.
    """
    import torch
    kind, index = split_device(name)
    if kind == 'cuda' and not torch.cuda.device_count() > (index or 0):
        raise no_such_device(name)
    return torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))


def split_device(name: str | None) -> tuple[str, int | None]:
    """Kind and index of a device name: '' without a name, and None without an index.

    Raises:
        UserError: If it is neither cpu nor cuda nor cuda:INDEX.
    """
    if not name:
        return '', None
    if not re.fullmatch('cpu|cuda(:[0-9]+)?', name):
        raise UserError(f'--device {name}: must be cpu, cuda or cuda:INDEX')
    kind, _, index = name.partition(':')
    return kind, int(index) if index else None


def visible_devices() -> list[str] | None:
    """The GPUs that the process was started with: numbers, or UUIDs of GPUs or of their MIG parts; None for all.

    CUDA leaves out what stands behind an entry that names none, such as '' or -1.
    """
    if STARTED_WITH is None:
        return None
    entries = [entry.strip() for entry in STARTED_WITH.split(',')]
    end = next((i for i, entry in enumerate(entries) if not entry or entry.startswith('-')), len(entries))
    return entries[:end]


def no_such_device(name: str | None) -> UserError:
    """The error of a GPU that is not there, with those that are visible."""
    visible = visible_devices()
    shown = '' if visible is None else f': {VISIBLE} shows {", ".join(visible) or "none"}'
    return UserError(f'--device {name}: no such CUDA device{shown}; use --device cpu')
