"""What is known of public weights: files, who measured what with them, and the function that they were trained as.

The table of all of them is ``models/public_weights.py``; ``checkpoints/hub.py`` brings their files.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable

MARK = 'res2net_mm_weights'  # attribute of a tensor that was loaded by name: the weights that it is of
SCHEME = 'res2net_mm://'  # before the name of weights, in configs and commands
HASH_IN_NAME = re.compile(r'-([0-9a-f]{8})\.pth$')


@dataclass(frozen=True)
class WeightFile:
    """A file on a host.

    Args:
        url (str): Its address.
        size (int | None): Its bytes, where they are published. Defaults to None.
        sha256 (str): How its SHA-256 begins, as far as it is published; '' where nothing is. Defaults to ''.
    """

    url: str
    size: int | None = None
    sha256: str = ''

    @property
    def name(self) -> str:
        """The name of a local copy; the hub's files are all called alike, so theirs is that of the repository."""
        *_, repository, _, _, file = self.url.split('/')
        return f'{repository}.safetensors' if file == 'model.safetensors' else file


@dataclass(frozen=True)
class Accuracy:
    """What somebody has published about a model with these weights.

    Args:
        metric (str): What the values are, such as 'top-1 / top-5 error, %'.
        values (tuple[float]): The values, as published.
        source (str): Who published them.
        protocol (str): How they were measured.
    """

    metric: str
    values: tuple[float, ...]
    source: str
    protocol: str


@dataclass(frozen=True)
class Preprocessing:
    """How the images were prepared that a model was tested with.

    Args:
        input_size (int): Side of the crop in pixels; for a whole model, the longest side allowed, and nothing is
            cropped. Defaults to 224.
        resize (int): Length of the shorter side (before the crop). Defaults to 256.
        interpolation (str): Of the resizing. Defaults to 'bilinear'.
        channels (str): Their order. Defaults to 'RGB'.
        mean (tuple[float]): Subtracted from values of 0 to 255. Defaults to ImageNet's.
        std (tuple[float]): Divided by afterwards. Defaults to ImageNet's.
    """

    input_size: int = 224
    resize: int = 256
    interpolation: str = 'bilinear'
    channels: str = 'RGB'
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Weights:
    """Public weights: ``res2net_mm://NAME`` loads them.

    Args:
        name (str): Their name.
        architecture (str): The backbone that has them, a name of ``models/names.py``.
        files (tuple[WeightFile]): Where they are, in the order in which hosts are asked.
        licence (str): The licence, and who stated it.
        accuracies (tuple[Accuracy]): What is published about them. Defaults to ().
        stage_pool (str): The function of the stage blocks that they were trained as. Defaults to 'always'.
        preprocessing (Preprocessing): How images were prepared. Defaults to ImageNet's usual.
        config (str): For a whole model, the config of this project that builds it. Defaults to '', a classifier.
        note (str): A remark for docs/weights.md. Defaults to ''.
        aliases (tuple[str]): Further names, unless they differ from ``name`` by case, hyphens and underscores alone.
            Defaults to ().
        page (str): Where people fetch the weights by hand, if no host gives ``files`` to a program. Defaults to ''.
    """

    name: str
    architecture: str
    files: tuple[WeightFile, ...]
    licence: str
    accuracies: tuple[Accuracy, ...] = ()
    stage_pool: str = 'always'
    preprocessing: Preprocessing = Preprocessing()
    config: str = ''
    note: str = ''
    aliases: tuple[str, ...] = ()
    page: str = ''


def hashed_file(url: str, size: int | None = None) -> WeightFile:
    """A file whose name ends with the first digits of its SHA-256, as the authors' and OpenMMLab's do."""
    match = HASH_IN_NAME.search(url)
    if not match:
        raise ValueError(f'{url}: its name does not end with 8 digits of a hash')
    return WeightFile(url, size, match[1])


def mark(tensors: Iterable[object], weights: Weights) -> None:
    """Note on tensors that they are of public weights; it stays on them while a checkpoint is taken apart."""
    for tensor in tensors:
        setattr(tensor, MARK, weights)


def find_mark(tensors: Iterable[object]) -> Weights | None:
    """The public weights that some tensors are of; None if they were not loaded by name."""
    return next((getattr(tensor, MARK) for tensor in tensors if hasattr(tensor, MARK)), None)
