"""Checkpoints as they are published: weights and what they need to be used, in a file that is named by its hash."""
from __future__ import annotations

import filecmp
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

from torch import Tensor

from ..utils.errors import CheckpointError, UserError
from ..utils.published_config import without_machine
from ..utils.whole_file import UNFINISHED, flush_folder, whole_file
from ..version import __version__
from .download import hash_file
from .files import write_checkpoint
from .layouts import is_block
from .loading import find_prefix, unwrap

FORMATS = ('safetensors', 'pth')
CARD, CONFIG = 'README.md', 'config.py'
PUBLISHED = re.compile(rf'^({re.escape(CARD)}|{re.escape(CONFIG)}|.+-[0-9a-f]{{8}}\.({"|".join(FORMATS)}))$')
META = ('dataset_meta', 'epoch', 'iter', 'CLASSES', 'PALETTE')  # the last two are those of mmcv 1
ADAPTER = re.compile(r'(^|[._])lora_')


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that was written.

    Args:
        name (str): Its name, which ends with the first 8 digits of its SHA-256.
        sha256 (str): Its SHA-256, all 64 digits.
        size (int): Its bytes.
    """

    name: str
    sha256: str
    size: int


def has_average(checkpoint: dict) -> bool:
    """Whether mmengine's EMAHook wrote a checkpoint: its moving average counts its ``steps``."""
    return isinstance(checkpoint.get('ema_state_dict'), dict) and 'steps' in checkpoint['ema_state_dict']


def select_weights(checkpoint: dict, average: bool = True) -> dict[str, Tensor]:
    """Take the weights to publish out of a checkpoint.

    mmengine's EMAHook swaps the two when it saves: ``state_dict`` holds the moving average, which validation and
    ``tools/test.py`` use, and ``ema_state_dict`` the weights of the optimizer.

    Args:
        checkpoint (dict): As ``read_checkpoint`` returns it.
        average (bool): Whether the moving average is taken, where there is one. Defaults to True.

    Returns:
        dict[str, Tensor]: The weights.

    Raises:
        CheckpointError: If there are none; if they are adapters (LoRA) without the weights that they adapt; if
            ``average`` is False, and the checkpoint has no moving average.
    """
    if not average:
        if not has_average(checkpoint):
            raise CheckpointError("the checkpoint has no moving average of mmengine's EMAHook; leave out --no-ema")
        checkpoint = checkpoint['ema_state_dict']
    weights, _ = unwrap(checkpoint)
    weights.pop('steps', None)
    if not weights:
        raise CheckpointError('the checkpoint holds no weights, only ' + ', '.join(map(str, checkpoint)))
    adapters = [key for key in weights if ADAPTER.search(key)]
    if adapters:
        raise CheckpointError(f'{len(adapters)} of the {len(weights)} weights are adapters (LoRA), such as '
                              f"'{adapters[0]}'; merge them into the weights of the model, and publish those")
    return weights


def round_to_half(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round the weights of convolutions and linear layers to float16, which is half of the file.

    Biases, norms and their statistics keep their type: they are few, and a variance may be outside float16's range.
    A model of float32 that loads the result computes in float32.

    Args:
        weights (dict[str, Tensor]): Weights by name.

    Raises:
        CheckpointError: If a weight is beyond float16's greatest number, 65504.
    """
    rounded = {key: value.half() if value.is_floating_point() and value.dim() > 1 else value
               for key, value in weights.items()}
    beyond = [key for key, value in rounded.items() if value.is_floating_point() and not value.isfinite().all()]
    if beyond:
        raise CheckpointError(f"weight '{beyond[0]}' is beyond float16's greatest number, 65504")
    return rounded


def select_backbone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the weights of the backbone out of those of a model, under the backbone's own names.

    Raises:
        CheckpointError: If there is no Res2Net or ResNet among them, or more than one.
    """
    prefix = find_prefix(weights)
    backbone = {key[len(prefix):]: value for key, value in weights.items() if key.startswith(prefix)}
    if not any(map(is_block, backbone)):
        raise CheckpointError(f'no Res2Net or ResNet is among the {len(weights)} weights, which begin with '
                              + ', '.join(list(weights)[:3]))
    return backbone


def published_meta(checkpoint: dict) -> dict[str, Any]:
    """What remains of the ``meta`` of a checkpoint: the dataset's classes, versions, and how long was trained.

    Configs, experiment names, seeds, states of random numbers and everything of the machine do not.
    """
    meta = checkpoint.get('meta')
    kept = {key: value for key, value in (meta if isinstance(meta, dict) else {}).items()
            if key in META or str(key).endswith('_version')}
    if isinstance(kept.get('dataset_meta'), dict):  # names of classes are no paths, whatever they begin with
        kept['dataset_meta'] = {key: value if key == 'classes' else without_machine(value)
                                for key, value in kept['dataset_meta'].items()}
    return {**kept, 'res2net_mm_version': __version__}


def write_publication(folder: Path, name: str, format: str, checkpoint: dict[str, dict],
                      make_texts: Callable[[PublishedFile], dict[str, str]], overwrite: bool = False) -> PublishedFile:
    """Write a folder with a file of weights and texts; it appears when all of it is on the disk, or not at all.

    Args:
        folder (Path): The folder. Where it is there already, and has the same content, it is left alone.
        name (str): How the file's name begins.
        format (str): One of ``FORMATS``.
        checkpoint (dict): The weights as ``state_dict``, and ``meta``.
        make_texts (Callable): Makes the other files of the folder, texts by name, once the file of weights is known.
        overwrite (bool): Replace another publication in this folder. Defaults to False.

    Raises:
        UserError: If the folder holds anything else, or its parent does not exist.
        OSError: If it cannot be written.
    """
    if not folder.parent.is_dir():
        raise UserError(f"'{folder}': the folder '{folder.parent}' does not exist")
    unfinished = folder.with_name(f'.{folder.name}.{os.getpid()}{UNFINISHED}')
    unfinished.mkdir()
    try:
        weights = {key: value.detach().clone().contiguous() for key, value in checkpoint['state_dict'].items()}
        path = unfinished / f'weights.{format}'
        write_checkpoint(dict(checkpoint, state_dict=weights), path)
        digest = hash_file(path)
        file = PublishedFile(f'{name}-{digest[:8]}.{format}', digest, path.stat().st_size)
        path.rename(unfinished / file.name)
        for text_name, text in make_texts(file).items():
            with whole_file(unfinished / text_name) as text_file:
                text_file.write(text.encode())
        flush_folder(unfinished)
        _put_in_place(unfinished, folder, overwrite)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return file


def _put_in_place(new: Path, folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        new.rename(folder)
        return
    if not folder.is_dir():
        raise UserError(f"'{folder}' is a file; name a folder")
    present, written = (sorted(path.name for path in place.iterdir()) for place in (folder, new))
    if present == written and not any(filecmp.cmpfiles(folder, new, written, shallow=False)[1:]):
        return
    foreign = [name for name in present if not PUBLISHED.match(name)]
    if foreign or (present and not overwrite):
        raise UserError(f"'{folder}' holds " + (f'{", ".join(foreign[:5])}; name a folder of its own' if foreign else
                                                'another publication; --overwrite replaces it'))
    old = new.with_name(f'{new.name}.old')
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old)
