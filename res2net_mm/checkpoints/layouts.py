"""How the known libraries name the weights of a backbone, as tables, and which of them a checkpoint follows.

The keys of our own backbones are ``layer{1..4}.{b}.conv1|bn1|convs.{i}|bns.{i}|conv3|bn3|se.fc{1,2}|downsample.{j}``,
which all public Res2Nets share, and ``conv1|bn1`` (v1) or ``stem.{0..8}`` (v1b, as mmdet names it) for the stem. Trunks
of other shapes have the keys of the code that their weights were published with.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import Tensor

from .paddle_layout import is_paddle, names_in, own_classifier

if TYPE_CHECKING:
    from typing import TypeGuard  # from Python 3.10 on

# Each table maps the names of a library to ours. A name that starts with a dot is one inside a block, any other is the
# start of the key.
OFFICIAL_STEM = {  # the deep stem of the official v1b code, and of timm
    'conv1.0.': 'stem.0.', 'conv1.1.': 'stem.1.', 'conv1.3.': 'stem.3.', 'conv1.4.': 'stem.4.', 'conv1.6.': 'stem.6.',
    'bn1.': 'stem.7.'
}
MMPRETRAIN_STEM = {
    'stem.0.conv.': 'stem.0.', 'stem.0.bn.': 'stem.1.', 'stem.1.conv.': 'stem.3.', 'stem.1.bn.': 'stem.4.',
    'stem.2.conv.': 'stem.6.', 'stem.2.bn.': 'stem.7.'
}
MASKRCNN_STEM = {'stem.conv1.': 'conv1.', 'stem.bn1.': 'bn1.'}
STEMS = {
    'official v1b or timm': OFFICIAL_STEM, 'mmpretrain': MMPRETRAIN_STEM, 'maskrcnn-benchmark': MASKRCNN_STEM,
}
MMPRETRAIN_SE = {'.se_layer.conv1.conv.': '.se.fc1.', '.se_layer.conv2.conv.': '.se.fc2.'}
PADDLE = 'PaddleClas'
RESNET_BLOCK = {'.conv2.': '.convs.0.', '.bn2.': '.bns.0.'}  # scales=1: torchvision, timm, mmdet, mmpretrain

# Layers whose presence tells the layouts apart that need no other names for the stem.
OWN_STEMS = {
    'stem.0.weight': 'mmdet or res2net_mm',
    'level3.project.0.weight': 'official DLA',
    'base_layer.0.weight': 'timm DLA or res2net_mm',
    'b_conv0.weight': 'official bLResNet or res2net_mm',
    'conv1.weight': 'official, timm, mmpretrain or res2net_mm',
}
BLOCK = re.compile(r'^(layer|level)\d\..*conv3\.weight$')
CLASSIFIER = re.compile(r'^(fc|head|neck)\.')
# Official DLA runs these projections and uses their output nowhere.
DEAD_PROJECTION = re.compile(r'^level(3|4|4\.tree1)\.project\.')


def recognise(state: dict[str, Tensor]) -> tuple[str, dict[str, str]]:
    """Find out which library names the keys of a backbone like this.

    Args:
        state (dict[str, Tensor]): Weights of a backbone, without a prefix.

    Returns:
        tuple[str, dict[str, str]]: The layout in words, and the table that ``rename`` takes to arrive at our names.
    """
    if is_paddle(state):
        return PADDLE, names_in(state)
    renames: dict[str, str] = {}
    layout = next((name for key, name in OWN_STEMS.items() if key in state), 'no known backbone')
    for name, stem in STEMS.items():
        if any(key.startswith(next(iter(stem))) for key in state):
            layout, renames = name, dict(stem)
    for name, block in (('SE of mmpretrain', MMPRETRAIN_SE), ('ResNet blocks', RESNET_BLOCK)):
        if any(key.endswith(next(iter(block)) + 'weight') for key in state):
            layout += f', {name}'
            renames.update(block)
    # mmpretrain's ResNet has no pooling, and so no index for it, in a shortcut without a stride.
    if is_conv(state.get('layer2.0.downsample.1.weight')):
        for i in range(1, 5):
            if is_conv(state.get(f'layer{i}.0.downsample.0.weight')):
                layout = layout.replace('official, timm, mmpretrain or res2net_mm', 'mmpretrain')
                renames.update(unpooled_shortcut(i))
    return layout, renames


def adopt(state: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Give the weights of a backbone, and of its classifier, our names.

    Args:
        state (dict[str, Tensor]): Weights of a backbone in any known layout, without a prefix.

    Returns:
        tuple[str, dict[str, Tensor]]: The layout in words, and the weights.
    """
    layout, renames = recognise(state)
    return layout, rename(own_classifier(state) if layout == PADDLE else state, renames)


def rename(state: dict[str, Tensor], renames: dict[str, str]) -> dict[str, Tensor]:
    """Replace the names on the left of a table by those on its right, once in every key."""
    return {_renamed(key, renames): value for key, value in state.items()}


def _renamed(key: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        if key.startswith(old):
            return new + key[len(old):]
        if old.startswith('.') and old in key:
            return key.replace(old, new, 1)
    return key


def unpooled_shortcut(stage: int) -> dict[str, str]:
    """The table for a pooled shortcut whose pooling mmpretrain leaves out; stages count from 1."""
    start = f'layer{stage}.0.downsample.'
    return {f'{start}0.': f'{start}1.', f'{start}1.': f'{start}2.'}


def is_conv(weight: Tensor | None) -> TypeGuard[Tensor]:
    """Whether a weight is there, and is that of a 2-D convolution."""
    return weight is not None and weight.dim() == 4


def is_block(key: str) -> bool:
    """Whether a key is that of the last convolution of a bottleneck."""
    return BLOCK.match(key) is not None


def count_splits(state: dict[str, Tensor]) -> int:
    """Count the splits of a backbone's blocks: the widest ratio of a block's first 1x1 to its first 3x3.

    Args:
        state (dict[str, Tensor]): Weights of a backbone under our names.
    """
    part = '.convs.0.weight'
    return max(state[key.replace(part, '.conv1.weight')].shape[0] // state[key].shape[0]
               for key in state if key.endswith(part))
