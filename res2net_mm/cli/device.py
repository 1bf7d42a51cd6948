"""``--device``: the GPU or the CPU that a command runs on.

mmengine decides for a device when its Runner is imported, and that import also brings torch. So a command reads
``--device`` first, calls ``choose_device``, and only then imports what needs either.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..utils.errors import UserError

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None) -> None:
    """Have mmengine use a device as the first that is visible; call it before mmengine.device is imported.

    Args:
        name (str | None): cpu, cuda or cuda:INDEX; None: a GPU if there is one.

    Raises:
        UserError: If it is of another form, or there is no such GPU.
    """
    kind, index = split_device(name)
    if kind == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    elif index:
        os.environ['CUDA_VISIBLE_DEVICES'] = index
    if kind == 'cuda':
        torch_device('cuda')


def torch_device(name: str | None) -> torch.device:
    """The torch.device of ``--device``; imports torch.

    Args:
        name (str | None): cpu, cuda or cuda:INDEX; None: a GPU if there is one.

    Raises:
        UserError: If it is of another form, or there is no such GPU.
    """
    import torch
    kind, index = split_device(name)
    if kind == 'cuda' and not torch.cuda.device_count() > int(index or 0):
        raise UserError(f'--device {name}: no such CUDA device; use --device cpu')
    return torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))


def split_device(name: str | None) -> tuple[str, str]:
    """Kind and index of a device name, both '' without a name.

    Raises:
        UserError: If it is neither cpu nor cuda nor cuda:INDEX.
    """
    kind, colon, index = (name or '').partition(':')
    if name and (kind not in ('cpu', 'cuda') or (colon and not (kind == 'cuda' and index.isdigit()))):
        raise UserError(f'--device {name}: must be cpu, cuda or cuda:INDEX')
    return kind, index
