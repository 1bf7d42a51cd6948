"""The files of public weights: from the user's folder, the cache, or the first host that has them."""
from __future__ import annotations

import logging
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from torch.hub import get_dir

from ..utils.errors import CheckpointError, MissingCheckpointError
from .download import download, find_problem
from .weights import HASH_IN_NAME, Weights

HASHED = ('download.pytorch.org', 'download.openmmlab.com', 'mmassets.onedl.ai')  # end names with a hash by custom


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


def fetch(weights: Weights) -> Path:
    """Download weights at the first use, and return where they lie.

    They are looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in torch hub's cache before any host is asked.
    A file is checked whenever it is taken up: its size and its SHA-256, as far as they are known, or else its format. A
    wrong one in the cache is fetched again.

    Args:
        weights (Weights): The weights.

    Returns:
        Path: The file.

    Raises:
        ValueError: If a file in ``RES2NET_MM_WEIGHTS`` is not the one that its name says.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    for folder in _user_folders():
        for file in weights.files:
            path = folder / file.name
            if path.is_file():
                _check_own(path, find_problem(path, file.size, file.sha256))
                return path
    for file in weights.files:
        path = _cache() / file.name
        if _is_cached(path, file.size, file.sha256):
            return path
    failures = []
    for file in weights.files:
        path = _cache() / file.name
        try:
            download(file.url, path, file.size, file.sha256)
            return path
        except OSError as error:
            failures.append(f'  {file.url}: {error}')
            print_log(f'{file.url}: {error}', logger='current', level=logging.WARNING)
    raise MissingCheckpointError(
        f'res2net_mm://{weights.name}: the weights could not be had:\n' + '\n'.join(failures) + '\n'
        f'Ways out: (1) fetch {" or ".join(dict.fromkeys(file.name for file in weights.files))} elsewhere and name its '
        'folder in the environment variable RES2NET_MM_WEIGHTS; '
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
    match = HASH_IN_NAME.search(parts.path) if parts.hostname in HASHED else None
    expected = match[1] if match else ''
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


def _is_cached(path: Path, size: int | None, expected: str) -> bool:
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


def _cache() -> Path:
    return Path(get_dir()) / 'checkpoints'


def _user_folders() -> list[Path]:
    folder = os.environ.get('RES2NET_MM_WEIGHTS')
    return [Path(folder).expanduser()] if folder else []
