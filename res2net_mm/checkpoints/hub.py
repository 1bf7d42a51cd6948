"""Public ImageNet weights by name: ``init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')``.

``python -m res2net_mm.checkpoints.hub`` prints docs/weights.md.
"""
import os
import re
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.error import URLError

from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader
from torch.hub import download_url_to_file, get_dir

from .files import read_checkpoint

SCHEME = 'res2net_mm://'
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


class Weights(NamedTuple):
    """A public weight: where it is, and what is known about it."""

    arguments: str  # of the backbone
    urls: tuple  # tried in this order
    size: Optional[int] = None  # of the .pth in bytes, where it is published
    authors: Optional[tuple] = None  # (top-1, top-5) error in %, as published by the authors of Res2Net
    timm: Optional[tuple] = None  # the same, as re-evaluated by timm
    openmmlab: Optional[tuple] = None  # the same, from mmpretrain's accuracies


def released(file, timm, hosts=(OFFICIAL, TIMM)):
    """The authors' file, the same file beside timm's code, and timm's copy of the weights in safetensors."""
    return (*(host + file for host in hosts), HUB.format(timm))


def hosted(path):
    return OPENMMLAB + path, ONEDL + path


WEIGHTS = {
    'res2net50_48w2s': Weights(
        'base_width=48, scales=2', released('res2net50_48w_2s-afed724a.pth', 'res2net50_48w_2s'),
        101421406, (22.68, 6.47), (22.472, 6.438)),
    'res2net50_26w4s': Weights(
        'the defaults', released('res2net50_26w_4s-06e79181.pth', 'res2net50_26w_4s'),
        103110087, (22.01, 6.15), (22.006, 6.140)),
    'res2net50_14w8s': Weights(
        'base_width=14, scales=8', released('res2net50_14w_8s-6527dddc.pth', 'res2net50_14w_8s'),
        100638543, (21.86, 6.14), (21.858, 6.148)),
    'res2net50_26w6s': Weights(
        'scales=6', released('res2net50_26w_6s-19041792.pth', 'res2net50_26w_6s'),
        148603239, (21.42, 5.87), (21.414, 5.880)),
    'res2net50_26w8s': Weights(
        'scales=8', released('res2net50_26w_8s-2c7c9f12.pth', 'res2net50_26w_8s'),
        194085165, (20.80, 5.63), (21.050, 5.720)),
    'res2net101_26w4s': Weights(
        'depth=101', released('res2net101_26w_4s-02a759a1.pth', 'res2net101_26w_4s'),
        181456059, (20.81, 5.57), (20.808, 5.534)),
    'res2next50_8c4w4s': Weights(
        'base_width=4, groups=8', released('res2next50_4s-6ef7e7bf.pth', 'res2next50'),
        99019592, (21.76, 6.09), (21.762, 6.096)),
    'res2net50_v1b_26w4s': Weights(
        'deep_stem=True, avg_down=True', released('res2net50_v1b_26w_4s-3cf99910.pth', 'res2net50d', (OFFICIAL, )),
        None, (19.73, 4.96), (19.720, 4.972)),
    'res2net101_v1b_26w4s': Weights(
        'depth=101, deep_stem=True, avg_down=True',
        released('res2net101_v1b_26w_4s-0812c246.pth', 'res2net101d', (OFFICIAL, )),
        None, (18.77, 4.64), (18.764, 4.654)),
    'dla60_res2net': Weights(
        'a DLA, 28w×4s', released('res2net_dla60_4s-d88db7f9.pth', 'dla60_res2net', (TIMM, )),
        84886593, (21.53, 5.80), (21.520, 5.796)),
    'dla60_res2next': Weights(
        'a DLA, 8c×4w×4s', released('res2next_dla60_4s-d327927b.pth', 'dla60_res2next', (TIMM, )),
        69639245, (21.55, 5.86), (21.512, 5.856)),
    # Converted from the authors' by OpenMMLab, under OpenMMLab's names.
    'res2net50-w14-s8_3rdparty_8xb32_in1k': Weights(
        'base_width=14, scales=8',
        hosted('mmclassification/v0/res2net/res2net50-w14-s8_3rdparty_8xb32_in1k_20210927-bc967bf1.pth'),
        openmmlab=(21.86, 6.15)),
    'res2net50-w26-s8_3rdparty_8xb32_in1k': Weights(
        'scales=8', hosted('mmclassification/v0/res2net/res2net50-w26-s8_3rdparty_8xb32_in1k_20210927-f547a94b.pth'),
        openmmlab=(20.80, 5.64)),
    'res2net101-w26-s4_3rdparty_8xb32_in1k': Weights(
        'depth=101', hosted('mmclassification/v0/res2net/res2net101-w26-s4_3rdparty_8xb32_in1k_20210927-870b6c36.pth'),
        openmmlab=(20.81, 5.56)),
    'res2net101_v1d_26w_4s': Weights(
        'depth=101, deep_stem=True, avg_down=True',
        hosted('pretrain/third_party/res2net101_v1d_26w_4s_mmdetv2-f0a600f9.pth')),
}
ALIASES = {  # other names, beside other ways to write those above (Res2Net-50-26w-4s, res2net50_26w_4s)
    'Res2Net-50': 'res2net50_26w4s',
    'Res2Net-101': 'res2net101_26w4s',
    'Res2Net-v1b-50': 'res2net50_v1b_26w4s',
    'Res2Net-v1b-101': 'res2net101_v1b_26w4s',
    'res2net50_v1b': 'res2net50_v1b_26w4s',
    'res2net101_v1b': 'res2net101_v1b_26w4s',
    'res2net50d': 'res2net50_v1b_26w4s',
    'res2net101d': 'res2net101_v1b_26w4s',
    'Res2Net-DLA-60': 'dla60_res2net',
    'Res2NeXt-DLA-60': 'dla60_res2next',
    'res2next50': 'res2next50_8c4w4s',
    'Res2NeXt-50': 'res2next50_8c4w4s',
}
NOT_PUBLIC = {  # how names begin of what the paper reports and nobody has published
    'res2net50_18w4s': 'Res2Net-50 18w×4s (the low-complexity model of Table 3)',
    'res2net50_18w6s': 'Res2Net-50 18w×6s (Tables 7 and 8)',
    'se_res2net': 'SE-Res2Net-50 (Table 1)',
    'bl_res2net': 'bLRes2Net-50 (Table 1)',
    'res2net50_299': 'Res2Net-50-299 (Table 1)',
    'res2next29': 'all CIFAR-100 models (Table 4, Figure 5)',
}


def fetch(name):
    """Return the local path of a public weight, downloading it at the first use.

    It is looked for in the folder ``RES2NET_MM_WEIGHTS``, if set, and in torch hub's cache before any host is asked.
    Weights of your own come first: ``NAME.pth`` in that folder serves any name, also one that is not public.

    Args:
        name (str): A key of ``WEIGHTS`` or of ``ALIASES``; case, hyphens and underscores do not matter.

    Returns:
        Path: The file.

    Raises:
        ValueError: If there is no public weight of that name.
        FileNotFoundError: If no host could be reached or none had the right file.
    """
    cache = Path(get_dir()) / 'checkpoints'
    users = os.environ.get('RES2NET_MM_WEIGHTS')
    users = [Path(users).expanduser()] if users else []
    for folder in users:
        if (folder / f'{name}.pth').is_file():
            return folder / f'{name}.pth'
    urls = WEIGHTS[full_name(name)].urls
    for folder in users + [cache]:
        for url in urls:
            if (folder / file_name(url)).is_file():
                return folder / file_name(url)

    cache.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        path = cache / file_name(url)
        try:
            download_url_to_file(url, str(path), hash_prefix=digest(url))
            return path
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the hash differs
            failures.append(f'  {url}: {error}')
    raise FileNotFoundError(
        f"{SCHEME}{name}: the ImageNet weights could not be had:\n" + '\n'.join(failures) + '\n'
        f'Ways out: (1) fetch {" or ".join(dict.fromkeys(map(file_name, urls)))} elsewhere and name its folder in the '
        'environment variable RES2NET_MM_WEIGHTS; '
        "(2) give another file: --cfg-options model.backbone.init_cfg.checkpoint=FILE; (3) train from random weights: "
        '--cfg-options model.backbone.init_cfg=None model.backbone.frozen_stages=-1 model.backbone.norm_eval=False')


def full_name(name):
    """Return the key of ``WEIGHTS`` that a name means."""
    means = {_plain(key): key for key in WEIGHTS}
    means.update({_plain(alias): key for alias, key in ALIASES.items()})
    if _plain(name) in means:
        return means[_plain(name)]
    for start, what in NOT_PUBLIC.items():
        if _plain(name).startswith(_plain(start)):
            raise ValueError(f'{SCHEME}{name}: the weights of {what} were never published; train the model, and put '
                             f'its checkpoint as {name}.pth into the folder that RES2NET_MM_WEIGHTS names')
    raise ValueError(f'{SCHEME}{name}: no public weights of that name; there are {", ".join(WEIGHTS)}')


def _plain(name):
    return re.sub('[-_ ]', '', name).lower()


def file_name(url):
    """The name of a local copy; the hub's files are all called alike, so theirs is that of the repository."""
    *_, repository, _, _, file = url.split('/')
    return f'{repository}.safetensors' if file == 'model.safetensors' else file


def digest(url):
    """The first digits of the file's SHA-256, which by custom end the name of a .pth; None if they are not known."""
    match = re.search(r'-([0-9a-f]{8})\.pth$', url)
    return match[1] if match else None


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_res2net_mm(filename, map_location=None):
    """Load a public weight for mmengine; in a distributed run only the first process downloads."""
    name = filename[len(SCHEME):]
    if is_main_process():
        fetch(name)
    barrier()
    return read_checkpoint(fetch(name), map_location)


PAGE = """# Public weights

<!-- python -m res2net_mm.checkpoints.hub > docs/weights.md -->

`init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://NAME')` takes any of these names. A file in the folder
`RES2NET_MM_WEIGHTS` comes first, then torch hub's cache, then the hosts in the order given here. All are ImageNet-1k
weights, trained with the pooling of `stage_pool='always'`.

Errors are in %, for one centre crop of 224². *Authors* is what the authors of Res2Net publish, *timm* what timm has
measured with the same weights, *mmpretrain* 100 minus the accuracy that mmpretrain publishes. We have measured none of
them. For 26w8s timm's results differ from the others, and from timm's own model index (20.81 / 5.63): there may be two
releases of these weights.

| name | backbone | top-1 / top-5, authors | timm | mmpretrain |
|---|---|---|---|---|
{errors}

| name | file | bytes | SHA-256 begins | licence as stated |
|---|---|---|---|---|
{files}

The SHA-256 is checked after a download. Sizes are those of timm's model index; the others are not published. Whatever a
mirror says, the weights are the authors', who publish them for non-commercial use.

## Other names

Case, hyphens and underscores do not matter: `Res2Net-50-26w-4s` and `res2net50_26w_4s` are `res2net50_26w4s`.

| name | means |
|---|---|
{aliases}

## Not public

The paper reports these, and their weights were never published. Your own, as `NAME.pth` in `RES2NET_MM_WEIGHTS`, serve
`res2net_mm://NAME` (`res2net50_18w6s.pth`):

{absent}"""


def page():
    """Return docs/weights.md."""

    def percent(errors, digits):
        return ' / '.join(f'{error:.{digits}f}' for error in errors or ())

    errors, files = [], []
    for name, row in WEIGHTS.items():
        cells = f'`{name}`', row.arguments, percent(row.authors, 2), percent(row.timm, 3), percent(row.openmmlab, 2)
        errors.append(f'| {" | ".join(cells)} |')
        for url in row.urls:
            host = url.split('/')[2]
            size = str(row.size) if row.size and url.endswith('.pth') else ''
            cells = f'`{name}`', f'[{file_name(url)}]({url})', size, digest(url) or 'not published', LICENCES[host]
            files.append(f'| {" | ".join(cells)} |')
    return PAGE.format(
        errors='\n'.join(errors), files='\n'.join(files),
        aliases='\n'.join(f'| `{alias}` | `{name}` |' for alias, name in ALIASES.items()),
        absent='\n'.join(f'* {what}' for what in NOT_PUBLIC.values()))


if __name__ == '__main__':
    print(page())
