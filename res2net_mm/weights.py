"""Public ImageNet weights by name: ``init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')``."""
import os
from pathlib import Path
from urllib.error import URLError

import torch
from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from torch.hub import download_url_to_file

OFFICIAL = 'https://shanghuagao.oss-cn-beijing.aliyuncs.com/res2net/'
TIMM = 'https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-res2net/'
HOSTS = (OFFICIAL, TIMM)  # the same files, tried in this order

# name: file. The file's name ends with the first 8 digits of its SHA-256, which is checked after the download.
FILES = {
    'res2net50_26w4s': 'res2net50_26w_4s-06e79181.pth',
}
SCHEME = 'res2net_mm://'


def fetch(name):
    """Return the local path of a public weight, downloading it at the first use.

    It is looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in torch hub's cache before any host is asked.

    Args:
        name (str): A key of ``FILES``.

    Returns:
        Path: The file.

    Raises:
        ValueError: If there is no public weight of that name.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    if name not in FILES:
        raise ValueError(f'{SCHEME}{name}: no public weights of that name; there are {", ".join(FILES)}')
    file = FILES[name]
    cached = Path(torch.hub.get_dir()) / 'checkpoints' / file
    for path in [Path(folder) / file for folder in [os.environ.get('RES2NET_MM_WEIGHTS')] if folder] + [cached]:
        if path.is_file():
            return path

    cached.parent.mkdir(parents=True, exist_ok=True)
    digest = file.rsplit('-', 1)[1].split('.')[0]
    failures = []
    for host in HOSTS:
        try:
            download_url_to_file(host + file, str(cached), hash_prefix=digest)
            return cached
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the hash differs
            failures.append(f'  {host}{file}: {error}')
    raise FileNotFoundError(
        f"{SCHEME}{name}: the ImageNet weights could not be had:\n" + '\n'.join(failures) + '\n'
        f'Ways out: (1) fetch {file} elsewhere and name its folder in the environment variable RES2NET_MM_WEIGHTS; '
        "(2) give another file: --cfg-options model.backbone.init_cfg.checkpoint=FILE; (3) train from random weights: "
        '--cfg-options model.backbone.init_cfg=None model.backbone.frozen_stages=-1 model.backbone.norm_eval=False')


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_res2net_mm(filename, map_location=None):
    """Load a public weight for mmengine; in a distributed run only the first process downloads."""
    name = filename[len(SCHEME):]
    if is_main_process():
        fetch(name)
    barrier()
    return torch.load(fetch(name), map_location=map_location, weights_only=True)
