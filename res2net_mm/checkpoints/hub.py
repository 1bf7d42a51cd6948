"""Public weights: what is known of a file, and its download. Which architecture has which is in ``models/names.py``."""
from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from torch.hub import get_dir

from ..utils.errors import CheckpointError, MissingCheckpointError
from .download import download, find_problem

OFFICIAL = 'https://shanghuagao.oss-cn-beijing.aliyuncs.com/res2net/'
TIMM = 'https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-res2net/'
HUB = 'https://huggingface.co/timm/{}.in1k/resolve/main/model.safetensors'
OPENMMLAB = 'https://download.openmmlab.com/'
ONEDL = 'https://mmassets.onedl.ai/'

AUTHORS = 'CC BY-NC-SA 4.0, by the authors'
CONVERTED = "none stated; converted from the authors'"
LICENCES = {  # host: what is stated for its files
    'shanghuagao.oss-cn-beijing.aliyuncs.com': AUTHORS,
    'github.com': AUTHORS,  # the same files
    'huggingface.co': '"unknown"',
    'download.openmmlab.com': CONVERTED,
    'mmassets.onedl.ai': CONVERTED,
}
HASHED = ('download.pytorch.org', 'download.openmmlab.com', 'mmassets.onedl.ai')  # end names with a hash by custom


@dataclass(frozen=True)
class Weights:
    """Public ImageNet weights: their hosts, and the published errors of the model that has them.

    Args:
        urls (tuple[str]): Where the file is; hosts are tried in this order.
        name (str): What OpenMMLab calls the weights; '' for those that are called like their architecture.
            Defaults to ''.
        size (int | None): Of the .pth in bytes, where it is published. Defaults to None.
        authors (tuple[float, float] | None): Top-1 and top-5 error in %, published by the authors of Res2Net.
            Defaults to None.
        timm (tuple[float, float] | None): The same, as timm has measured them. Defaults to None.
        openmmlab (tuple[float, float] | None): The same, from mmpretrain's accuracies. Defaults to None.
    """

    urls: tuple[str, ...]
    name: str = ''
    size: int | None = None
    authors: tuple[float, float] | None = None
    timm: tuple[float, float] | None = None
    openmmlab: tuple[float, float] | None = None


def released(file: str, timm: str, hosts: tuple[str, ...] = (OFFICIAL, TIMM)) -> tuple[str, ...]:
    """The authors' file, the same file beside timm's code, and timm's copy of the weights in safetensors."""
    return (*(host + file for host in hosts), HUB.format(timm))


def converted(path: str) -> tuple[str, ...]:
    """A file on the servers of OpenMMLab and of its fork."""
    return OPENMMLAB + path, ONEDL + path


def find_own_weights(name: str) -> Path | None:
    """Find ``NAME.pth`` in the user's folder, ``RES2NET_MM_WEIGHTS``; None if there is none.

    Raises:
        ValueError: If the file is no checkpoint.
    """
    for folder in _user_folders():
        path = folder / f'{name}.pth'
        if path.is_file():
            _check_own(path, find_problem(path))
            return path
    return None


def fetch(weights: Weights, label: str) -> Path:
    """Download weights at the first use, and return where they lie.

    They are looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in torch hub's cache before any host is asked.
    A file is checked whenever it is taken up: its size and its SHA-256, as far as they are known, or else its format. A
    wrong one in the cache is fetched again.

    Args:
        weights (Weights): The weights.
        label (str): Their name in messages.

    Returns:
        Path: The file.

    Raises:
        ValueError: If a file in ``RES2NET_MM_WEIGHTS`` is not the one that its name says.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    for folder in _user_folders():
        for url in weights.urls:
            path = folder / file_name(url)
            if path.is_file():
                _check_own(path, find_problem(path, _size(weights, url), digest(url)))
                return path
    cached = [url for url in weights.urls if _is_cached(_cache() / file_name(url), _size(weights, url), digest(url))]
    if cached:
        return _cache() / file_name(cached[0])
    failures = []
    for url in weights.urls:
        path = _cache() / file_name(url)
        try:
            download(url, path, _size(weights, url), digest(url))
            return path
        except OSError as error:
            failures.append(f'  {url}: {error}')
            print_log(f'{url}: {error}', logger='current', level=logging.WARNING)
    raise MissingCheckpointError(
        f'{label}: the ImageNet weights could not be had:\n' + '\n'.join(failures) + '\n'
        f'Ways out: (1) fetch {" or ".join(dict.fromkeys(map(file_name, weights.urls)))} elsewhere and name its folder '
        'in the environment variable RES2NET_MM_WEIGHTS; '
        "(2) give another file: --cfg-options model.backbone.init_cfg.checkpoint=FILE; (3) train from random weights: "
        '--cfg-options model.backbone.init_cfg=None model.backbone.frozen_stages=-1 model.backbone.norm_eval=False')


def fetch_url(url: str) -> Path:
    """Download a checkpoint at the first use, into torch hub's cache, and return where it lies.

    The local name has the address in it, as a hash: the files of two hosts are often called alike. The digits at the
    end of a name are compared to the file's SHA-256 where they are known to be that: on the hosts of ``HASHED``.

    Args:
        url (str): The address, http or https.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: If it could not be had.
    """
    parts = urlsplit(url)
    expected = digest(parts.path) if parts.hostname in HASHED else None
    name = re.sub(r'[^\w.-]', '_', parts.path.split('/')[-1])[-80:]
    path = _cache() / f'{sha256(url.encode()).hexdigest()[:12]}-{name}'
    if not _is_cached(path, None, expected):
        try:
            download(url, path, digest=expected)
        except OSError as error:
            raise MissingCheckpointError(f"checkpoint '{url}' could not be had: {error}. Fetch it elsewhere, and give "
                                         'the path of the file') from error
    return path


def fetch_in_turn(fetch_file: Callable[[], Path]) -> Path:
    """Have the first process of a distributed run fetch a file, and the others find it.

    Args:
        fetch_file (Callable): Fetches it, or finds it in the cache; where the first process fails the others try, too.

    Returns:
        Path: The file.
    """
    try:
        path = fetch_file() if is_main_process() else None
    finally:
        barrier()
    return path or fetch_file()


def _is_cached(path: Path, size: int | None, expected: str | None) -> bool:
    if not path.is_file():
        return False
    problem = find_problem(path, size, expected)
    if problem:
        print_log(f'{path} is {problem}; it is fetched again', logger='current', level=logging.WARNING)
    return not problem


def _check_own(path: Path, problem: str) -> None:
    if problem:
        raise CheckpointError(f"'{path}', in the folder that RES2NET_MM_WEIGHTS names, is {problem}; delete the file, "
                              'or put the right one there')


def _size(weights: Weights, url: str) -> int | None:
    return weights.size if url.endswith('.pth') else None


def _cache() -> Path:
    return Path(get_dir()) / 'checkpoints'


def _user_folders() -> list[Path]:
    folder = os.environ.get('RES2NET_MM_WEIGHTS')
    return [Path(folder).expanduser()] if folder else []


def file_name(url: str) -> str:
    """The name of a local copy; the hub's files are all called alike, so theirs is that of the repository."""
    *_, repository, _, _, file = url.split('/')
    return f'{repository}.safetensors' if file == 'model.safetensors' else file


def digest(url: str) -> str | None:
    """The first digits of the file's SHA-256, which by custom end the name of a .pth; None if they are not known."""
    match = re.search(r'-([0-9a-f]{8})\.pth$', url)
    return match[1] if match else None
