"""Public weights: what is known of a file, and its download. Which architecture has which is in ``models/names.py``."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from torch.hub import download_url_to_file, get_dir

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
    """Find ``NAME.pth`` in the user's folder, ``RES2NET_MM_WEIGHTS``; None if there is none."""
    return next((folder / f'{name}.pth' for folder in _user_folders() if (folder / f'{name}.pth').is_file()), None)


def fetch(weights: Weights, label: str) -> Path:
    """Download weights at the first use, and return where they lie.

    They are looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in torch hub's cache before any host is asked.

    Args:
        weights (Weights): The weights.
        label (str): Their name in messages.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    cache = Path(get_dir()) / 'checkpoints'
    for folder in [*_user_folders(), cache]:
        for url in weights.urls:
            if (folder / file_name(url)).is_file():
                return folder / file_name(url)

    cache.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in weights.urls:
        path = cache / file_name(url)
        try:
            download_url_to_file(url, str(path), hash_prefix=digest(url))
            return path
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the hash differs
            failures.append(f'  {url}: {error}')
    raise FileNotFoundError(
        f'{label}: the ImageNet weights could not be had:\n' + '\n'.join(failures) + '\n'
        f'Ways out: (1) fetch {" or ".join(dict.fromkeys(map(file_name, weights.urls)))} elsewhere and name its folder '
        'in the environment variable RES2NET_MM_WEIGHTS; '
        "(2) give another file: --cfg-options model.backbone.init_cfg.checkpoint=FILE; (3) train from random weights: "
        '--cfg-options model.backbone.init_cfg=None model.backbone.frozen_stages=-1 model.backbone.norm_eval=False')


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
