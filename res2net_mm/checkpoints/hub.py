"""The files of public weights: from the user's folder, the caches, or the first host that has them."""
from __future__ import annotations

import logging
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies

from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log
from torch.hub import get_dir

from ..utils.errors import CheckpointError, MissingCheckpointError
from ..utils.whole_file import NoSpaceError, whole_file
from .download import AnotherFileError, download, find_problem
from .hugging_face import as_hub_file, endpoint_of, fetch_from_hub, find_in_hub_cache, is_offline, named_hash
from .transfer import DownloadError
from .trusted_hashes import find_committed, find_first_use, find_trusted, first_use_file, trust_first_use
from .weights import HASH_IN_NAME, SCHEME, WeightFile, Weights

HASHED = ('download.pytorch.org', 'download.openmmlab.com', 'mmassets.onedl.ai')  # end names with a hash by custom
COMMAND = 'python -m res2net_mm.weights'


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


def fetch(weights: Weights, trust_new: bool = False) -> Path:
    """Download weights at the first use, and return where they lie.

    They are looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in the caches of torch hub and the Hugging
    Face hub before any host is asked. A file is checked whenever it is taken up: its size and its SHA-256, as far as
    they are known, or else its format. A wrong one in a cache is fetched again. The full SHA-256 is recorded at the
    first use, and a file that has another one later is refused (``trusted_hashes.py``).

    Args:
        weights (Weights): The weights.
        trust_new (bool): Take up another file than the one that was used first. Defaults to False.

    Returns:
        Path: The file.

    Raises:
        ValueError: If a file in ``RES2NET_MM_WEIGHTS`` is not the one that its name says, or no host gives the weights
            to a program.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    return _fetch(weights, trust_new)[1]


def fetch_to(weights: Weights, folder: Path, trust_new: bool = False) -> Path:
    """Fetch weights as ``fetch``, and copy them into a folder, under the name that ``RES2NET_MM_WEIGHTS`` expects.

    Args:
        weights (Weights): The weights.
        folder (Path): The folder; it must be there.
        trust_new (bool): As for ``fetch``. Defaults to False.

    Returns:
        Path: The copy.

    Raises:
        ValueError, FileNotFoundError: As ``fetch``.
        OSError: If the copy cannot be written.
    """
    file, source = _fetch(weights, trust_new)
    path = folder / file.name
    if not path.exists() or not path.samefile(source):
        with open(source, 'rb') as stream, whole_file(path, source.stat().st_size) as copy:
            shutil.copyfileobj(stream, copy)
    return path


def find_cached(weights: Weights) -> tuple[WeightFile, Path] | None:
    """Find the first file of weights that is in the user's folder or a cache, as it is; None if there is none."""
    for file in weights.files:
        for path in (*(folder / file.name for folder in _user_folders()), *_cached(file.url, file.name)):
            if path.is_file():
                return file, path
    return None


def fetch_url(url: str) -> Path:
    """Download a checkpoint at the first use, into a cache, and return where it lies.

    The local name has the address in it, as a hash: the files of two hosts are often called alike. The digits at the
    end of a name are compared to the file's SHA-256 where they are known to be that: on the hosts of ``HASHED``. It is
    trusted on first use, as public weights are.

    Args:
        url (str): The address, http or https.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: If it could not be had.
    """
    parts = urlsplit(url)
    match = HASH_IN_NAME.search(parts.path) if parts.hostname in HASHED else None
    name = re.sub(r'[^\w.-]', '_', parts.path.split('/')[-1])[-80:]
    name = f'{sha256(url.encode()).hexdigest()[:12]}-{name}'
    file = WeightFile(url, None, match[1] if match else '')
    path = _take_from_cache(file, name)
    try:
        return path or _download(file, name)
    except OSError as error:
        raise MissingCheckpointError(f"checkpoint '{url}' could not be had: {_explained(error, name)}. Fetch it "
                                     'elsewhere, and give the path of the file') from error


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


def _fetch(weights: Weights, trust_new: bool) -> tuple[WeightFile, Path]:
    if not weights.files:
        raise CheckpointError(f'{SCHEME}{weights.name}: no host gives these weights to a program; fetch them with '
                              f'a browser from {weights.page}, and put them as {weights.name}.pth into the folder that '
                              'RES2NET_MM_WEIGHTS names')
    for folder in _user_folders():
        for file in weights.files:
            path = folder / file.name
            if path.is_file():
                _check_own(path, find_problem(path, file.size, _expected(file, file.name)))
                return file, path
    for file in weights.files:
        cached = _take_from_cache(file, file.name)
        if cached:
            return file, cached
    failures = []
    for file in weights.files:
        try:
            return file, _download(file, file.name, trust_new)
        except OSError as error:
            text = f'{endpoint_of(file.url)}: {_explained(error, file.name, weights.name)}'
            failures.append(f'  {text}')
            print_log(text, logger='current', level=logging.WARNING)
    raise MissingCheckpointError(
        f'{SCHEME}{weights.name}: the weights could not be had:\n' + '\n'.join(failures) + '\n' + _proxies() +
        f'Ways out: (1) fetch {" or ".join(dict.fromkeys(file.name for file in weights.files))} elsewhere '
        f'({COMMAND} download {weights.name} --to FOLDER) and name its folder in the environment variable '
        'RES2NET_MM_WEIGHTS; '
        "(2) give another file: --cfg-options model.backbone.init_cfg.checkpoint=FILE; (3) train from random weights: "
        '--cfg-options model.backbone.init_cfg=None model.backbone.frozen_stages=-1 model.backbone.norm_eval=False')


def _take_from_cache(file: WeightFile, name: str) -> Path | None:
    """A right file from a cache; wrong ones are named."""
    expected = _expected(file, name)
    for path in _cached(file.url, name):
        if path.is_file():
            problem = find_problem(path, file.size, expected if len(expected) == 64 else named_hash(path) or expected)
            if not problem:
                trust_first_use(name, path, file.url)
                return path
            print_log(f'{path} is {problem}; it is fetched again', logger='current', level=logging.WARNING)
    return None


def _download(file: WeightFile, name: str, trust_new: bool = False) -> Path:
    expected = _expected(file, name, trust_new)
    if is_offline(file.url):
        raise DownloadError('it is not asked, since HF_HUB_OFFLINE is set')
    url, hub_file = endpoint_of(file.url), as_hub_file(file.url)
    if hub_file:
        path = fetch_from_hub(hub_file, url, file.size, expected)
    else:
        path = _cache() / name
        download(url, path, file.size, expected)
    trust_first_use(name, path, url, replace=trust_new)
    return path


def _expected(file: WeightFile, name: str, trust_new: bool = False) -> str:
    """How the SHA-256 of a file must begin: all of it if it is trusted, else as far as it is published."""
    trusted = find_committed(name) if trust_new else find_trusted(name)
    return trusted.sha256 if trusted else file.sha256


def _explained(error: OSError, name: str, weights: str = '') -> str:
    """What happened, and for a file that is not the trusted one, how to accept it."""
    if not isinstance(error, (DownloadError, NoSpaceError)):
        return (f'it cannot be written ({error}); TORCH_HOME, and HF_HOME for files of the hub, name folders for it '
                'that you may write')
    first_use = find_first_use(name)
    if not isinstance(error, AnotherFileError) or not first_use or find_committed(name):
        return str(error)
    way = f'{COMMAND} download {weights} --trust-new' if weights else f'delete {name} from {first_use_file()}'
    return (f'{error}. When {name} was first used, on {first_use.date} from {first_use.url}, its hash was recorded; '
            'since then somebody has replaced it, its publisher or another. If you know that the new file is right, '
            f'accept it: {way}')


def _proxies() -> str:
    """Which proxies are used, without the passwords in their addresses."""
    proxies = getproxies()
    used = [f'{scheme}: {re.sub("//.*@", "//", proxies[scheme])}' for scheme in ('http', 'https') if scheme in proxies]
    return f'Proxies in use: {", ".join(used)}\n' if used else ''


def _check_own(path: Path, problem: str) -> None:
    if problem:
        raise CheckpointError(f"'{path}', in the folder that RES2NET_MM_WEIGHTS names, is {problem}; delete the file, "
                              'or put the right one there')


def _cached(url: str, name: str) -> list[Path]:
    """Where a file may lie: in torch hub's cache, and in the one of the Hugging Face hub."""
    hub_file = as_hub_file(url)
    shared = find_in_hub_cache(hub_file) if hub_file else None
    return [_cache() / name, *([shared] if shared else [])]


def _cache() -> Path:
    return Path(get_dir()) / 'checkpoints'


def _user_folders() -> list[Path]:
    folder = os.environ.get('RES2NET_MM_WEIGHTS')
    return [Path(folder).expanduser()] if folder else []
