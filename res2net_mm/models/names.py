"""The one table of names: every architecture, its aliases and its published cost.

A row of ``ARCHITECTURES`` is all that a variant needs: ``arch=NAME`` builds it, and the tools that
count, measure, convert and inspect take it from here. Its weights, if any are public, are rows of
``public_weights.py``.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..registry import MODELS
from ..utils.text import did_you_mean
from .public_weights import BY_HAND, WEIGHTS


@dataclass(frozen=True)
class PublishedCost:
    """What a source prints about the cost of an architecture.

    Args:
        params (str): Millions of parameters, as printed; '' if they are not. Defaults to ''.
        macs (str): Billions of multiply-adds (the paper's FLOPs) at the input size, as printed. Defaults to ''.
        source (str): Where both are printed. Defaults to ''.
        runtime_ms (int | None): Milliseconds in the paper's Table 3. Defaults to None, not in it.
        unused (tuple[int, int]): Parameters and multiply-adds of layers that the published model has and never uses;
            they are not built here. Defaults to (0, 0).
        note (str): A remark for docs/complexity.md. Defaults to ''.
    """

    params: str = ''
    macs: str = ''
    source: str = ''
    runtime_ms: int | None = None
    unused: tuple[int, int] = (0, 0)
    note: str = ''


@dataclass(frozen=True)
class Architecture:
    """A named variant of a backbone.

    Args:
        name (str): Its name here.
        type (str): The registered backbone, such as 'res2net_mm.Res2Net'.
        arguments (dict): The arguments that make the variant, all of them.
        title (str): The paper's name with its splits, as in docs/complexity.md. Defaults to '', not listed there.
        aliases (tuple[str]): Names of timm, of the paper and of the authors, unless they differ from ``name`` by case,
            hyphens and underscores alone. Defaults to ().
        unpublished (str): What the paper reports with weights that nobody has published. Defaults to ''.
        input_size (int): Side of the images that it was made for, in pixels. Defaults to 224.
        published (PublishedCost): What is printed about its cost. Defaults to nothing.
    """

    name: str
    type: str
    arguments: dict[str, Any]
    title: str = ''
    aliases: tuple[str, ...] = ()
    unpublished: str = ''
    input_size: int = 224
    published: PublishedCost = PublishedCost()

    @property
    def config(self) -> dict[str, Any]:
        """The config that builds the backbone."""
        return dict(type=self.type, **self.arguments)


# Every Res2Net, unless its row says otherwise: the paper's Res2Net-50, 26w×4s (section 4, tables 1-3).
RES2NET_ARGUMENTS = dict(depth=50, base_width=26, scales=4, groups=1, deep_stem=False, avg_down=False, se_reduction=0,
                         stage_pool='always')
V1B = dict(deep_stem=True, avg_down=True)  # the authors' second version
VD = dict(stage_pool='strided_hierarchical', **V1B)  # PaddleClas's: the shapes of the second version, another function
README, BIG_LITTLE, TABLE3 = 'official README', 'Big-Little README', 'paper, Table 3'
PADDLE = 'PaddleClas, SEResNext_and_Res2Net_en.md'
PADDLE_50 = 'PaddleClas prints 25.06 M, and 25.72 M for Res2Net-50 14w×8s: exchanged'
NOT_25M = 'the paper says that all models of Table 1 have about 25 M and 4.2 G, which does not hold for this one'
# DLA's projections of level3, level4 and level4.tree1: 1×1 to 256, 512 and 512 channels, and their norms.
UNUSED = (128 * 256 + 2 * 256 + 2 * (256 * 512 + 2 * 512), 128 * 256 * 28**2 + 2 * 256 * 512 * 14**2)


def _res2net(name: str, title: str = '', differing: dict[str, Any] | None = None, **fields: Any) -> Architecture:
    return Architecture(name, 'res2net_mm.Res2Net', {**RES2NET_ARGUMENTS, **(differing or {})}, title, **fields)


def _dla(name: str, title: str, scales: int, base_width: int, groups: int, **fields: Any) -> Architecture:
    return Architecture(name, 'res2net_mm.DLA', dict(scales=scales, base_width=base_width, groups=groups), title,
                        **fields)


def _bl_res2net(name: str, title: str, scales: int, base_width: int, **fields: Any) -> Architecture:
    return Architecture(name, 'res2net_mm.BLRes2Net', dict(depth=50, scales=scales, base_width=base_width), title,
                        **fields)


ARCHITECTURES = (
    _res2net(
        'res2net50_48w2s', 'Res2Net-50 48w×2s', dict(base_width=48, scales=2),
        published=PublishedCost('25.29', '4.2', README, runtime_ms=148)),
    _res2net(
        'res2net50_26w4s', 'Res2Net-50 26w×4s', aliases=('Res2Net-50', ),
        published=PublishedCost('25.70', '4.2', README, runtime_ms=153, note='4.255 G is printed as 4.2')),
    _res2net(
        'res2net50_14w8s', 'Res2Net-50 14w×8s', dict(base_width=14, scales=8),
        published=PublishedCost('25.06', '4.2', README, runtime_ms=172)),
    _res2net(
        'res2net50_26w6s', 'Res2Net-50 26w×6s', dict(scales=6),
        published=PublishedCost('37.05', '6.3', README)),
    _res2net(
        'res2net50_26w8s', 'Res2Net-50 26w×8s', dict(scales=8),
        published=PublishedCost('48.40', '8.3', README)),
    _res2net(
        'res2net101_26w4s', 'Res2Net-101 26w×4s', dict(depth=101), aliases=('Res2Net-101', ),
        published=PublishedCost('45.21', '8.1', README)),
    _res2net(
        'res2next50_8c4w4s', 'Res2NeXt-50 8c×4w×4s', dict(base_width=4, groups=8),
        aliases=('res2next50', 'Res2NeXt-50'),
        published=PublishedCost('24.67', '4.2', README)),
    _res2net(
        'res2net50_v1b_26w4s', 'Res2Net-v1b-50', V1B, aliases=('Res2Net-v1b-50', 'res2net50_v1b', 'res2net50d'),
        published=PublishedCost('25.72', '4.5', README)),
    _res2net(
        'res2net101_v1b_26w4s', 'Res2Net-v1b-101', dict(depth=101, **V1B),
        aliases=('Res2Net-v1b-101', 'res2net101_v1b', 'res2net101d'),
        published=PublishedCost('45.23', '8.3', README)),
    _res2net(
        'res2net50_vd_26w4s', 'Res2Net-vd-50', VD, published=PublishedCost(note=PADDLE_50)),
    _res2net(
        'res2net101_vd_26w4s', 'Res2Net-vd-101', dict(depth=101, **VD),
        published=PublishedCost('45.22', source=PADDLE, note='45.226 M is printed as 45.22')),
    _res2net(
        'res2net200_vd_26w4s', 'Res2Net-vd-200', dict(depth=200, **VD),
        published=PublishedCost('76.21', source=PADDLE, note='76.216 M is printed as 76.21')),
    _res2net('res2net50_18w6s', 'Res2Net-50 18w×6s', dict(base_width=18, scales=6),
             unpublished='Res2Net-50 18w×6s (Tables 7 and 8)'),
    _res2net('res2net50_18w4s', 'Res2Net-50-L 18w×4s', dict(base_width=18), aliases=('Res2Net-50-L', ),
             unpublished='Res2Net-50 18w×4s (the low-complexity model of Table 3)',
             published=PublishedCost('', '2.9', TABLE3, runtime_ms=106)),
    _res2net('res2net50_299', 'Res2Net-50-299', unpublished='Res2Net-50-299 (Table 1)', input_size=299),
    _res2net('se_res2net50_26w4s', 'SE-Res2Net-50', dict(se_reduction=16), aliases=('SE-Res2Net-50', ),
             unpublished='SE-Res2Net-50 (Table 1)',
             published=PublishedCost(note='the paper does not say the reduction; 16, as in SENet')),
    # The baselines of the same tables.
    _res2net('resnet50', 'ResNet-50', dict(base_width=64, scales=1),
             published=PublishedCost('', '4.2', TABLE3, runtime_ms=149, note='4.089 G here and in torchvision')),
    _res2net('resnext50_32x4d', 'ResNeXt-50 32x4d', dict(base_width=4, groups=32, scales=1), aliases=('ResNeXt-50', )),
    _res2net('se_resnet50', 'SENet-50', dict(base_width=64, scales=1, se_reduction=16), aliases=('SENet-50', )),
    _dla('dla60_res2net', 'Res2Net-DLA-60', scales=4, base_width=28, groups=1, aliases=('Res2Net-DLA-60', ),
         published=PublishedCost('21.15', '4.2', README, unused=UNUSED, note=NOT_25M)),
    _dla('dla60_res2next', 'Res2NeXt-DLA-60', scales=4, base_width=4, groups=8, aliases=('Res2NeXt-DLA-60', ),
         published=PublishedCost('17.33', '3.6', README, unused=UNUSED, note=NOT_25M)),
    _dla('dla60', 'DLA-60', scales=1, base_width=64, groups=1, published=PublishedCost(unused=UNUSED)),
    _dla('dla60x', 'DLA-X-60', scales=1, base_width=4, groups=32, published=PublishedCost(unused=UNUSED)),
    _bl_res2net('bl_res2net50', 'bLRes2Net-50', scales=4, base_width=26, unpublished='bLRes2Net-50 (Table 1)',
                published=PublishedCost(note=f'the paper gives no details; {NOT_25M}')),
    _bl_res2net('bl_resnet50', 'bLResNet-50', scales=1, base_width=64,
                published=PublishedCost('', '2.85', BIG_LITTLE)),
    # Not in docs/complexity.md.
    _res2net('res2net152_26w4s', differing=dict(depth=152)),
    _res2net('res2net200_26w4s', differing=dict(depth=200)),
    _res2net('res2net152_v1b_26w4s', differing=dict(depth=152, **V1B), aliases=('Res2Net-v1b-152', 'res2net152_v1b')),
    _res2net('resnet101', differing=dict(depth=101, base_width=64, scales=1)),
)


def resolve(name: str) -> Architecture:
    """Find an architecture by its name, an alias, or the name of its weights.

    Args:
        name (str): Case, hyphens, underscores and spaces do not matter: 'Res2Net-50-26w-4s' is 'res2net50_26w4s'.

    Returns:
        Architecture: The row of the table.

    Raises:
        ValueError: If there is none; the message has the names that are near, and all that there are.
    """
    rows = {normalise_name(known): row for row in ARCHITECTURES for known in known_names(row)}
    if isinstance(name, str) and normalise_name(name) in rows:
        return rows[normalise_name(name)]
    told = {key: row.name for key, row in rows.items()}
    raise ValueError(f"no architecture is called '{name}'; "
                     + did_you_mean(normalise_name(str(name)), rows, told, form='{} ')
                     + f'there are {", ".join(row.name for row in ARCHITECTURES)}')


def known_names(row: Architecture) -> tuple[str, ...]:
    """List the names that mean an architecture: its own, its aliases, and those of its weights.

    Not those of weights of more than it (a detector), or that were trained as another function than it computes.
    """
    function = row.arguments.get('stage_pool', 'always')
    weights = (name for weights in (*WEIGHTS, *BY_HAND)
               if weights.architecture == row.name and not weights.config and weights.stage_pool == function
               for name in (weights.name, *weights.aliases))
    return tuple(dict.fromkeys((row.name, *row.aliases, *weights)))


def normalise_name(name: str) -> str:
    """A name without what does not matter: case, hyphens, underscores and spaces."""
    return re.sub('[-_ ]', '', name).lower()


def find_name(type: str, arguments: dict[str, Any]) -> str | None:
    """Find the first architecture of a backbone that has these arguments, all or some; None if there is none."""
    return next((row.name for row in ARCHITECTURES
                 if row.type == type and arguments.items() <= row.arguments.items()), None)


def architecture_values(backbone: dict) -> dict:
    """What a config of our Res2Net says of its architecture: by name, by single arguments, or by default."""
    arch = backbone.get('arch', 'res2net50_26w4s')
    arguments = {key: backbone[key] for key in RES2NET_ARGUMENTS if backbone.get(key) is not None}
    return {**resolve(arch).arguments, **arguments}


def build_backbone(name: str) -> nn.Module:
    """Build the backbone of an architecture, in training mode, with weights as its layers draw them.

    Args:
        name (str): As for ``resolve``.

    Raises:
        ValueError: As ``resolve``.
    """
    return MODELS.build(resolve(name).config)
