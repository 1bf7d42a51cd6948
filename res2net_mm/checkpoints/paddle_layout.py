"""How PaddleClas names the weights of its Res2Nets (``Res2Net``, v1, and ``Res2Net_vd``, of v1b's shapes).

Its names differ from ours in every key: ``bb_2_5.res4f_branch2b_1._conv.weight`` is ``layer3.5.convs.0.weight``. The
statistics of batch norms are ``_mean`` and ``_variance``, without a count of batches, and the weight of the classifier
is (in, out), not (out, in).
"""
from __future__ import annotations

import re
from typing import Mapping

from torch import Tensor

FUNCTION = 'strided_hierarchical'  # the ``stage_pool`` of PaddleClas's code, and so of all weights trained there
SPLIT = re.compile(r'bb_([0-3])_(\d+)\.([^.]+)_branch2b_(\d+)\._conv\.weight')
OWN_BLOCK = re.compile(r'layer([1-4])\.(\d+)\.conv3\.weight')
STEM = {'conv1': ('conv1', 'bn1')}  # a convolution with its norm: the two in our names
DEEP_STEM = {f'conv1_{i + 1}': (f'stem.{3 * i}', f'stem.{3 * i + 1}') for i in range(3)}


def is_paddle(state: Mapping[str, Tensor]) -> bool:
    """Whether weights have PaddleClas's names."""
    return 'bb_0_0.conv0._conv.weight' in state


def names_in(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Make the table, for ``rename``, from the names of such weights to ours.

    Args:
        state (Mapping[str, Tensor]): Weights of a backbone with PaddleClas's names.
    """
    splits = [match for match in map(SPLIT.fullmatch, state) if match]
    names = {(int(match[1]), int(match[2])): match[3] for match in splits}
    return _table(names, 1 + max((int(match[4]) for match in splits), default=0), 'conv1_1._conv.weight' in state)


def names_for(state: Mapping[str, Tensor], scales: int) -> dict[str, str]:
    """Make the table from the names that PaddleClas has for weights to ours, which they have.

    Args:
        state (Mapping[str, Tensor]): Weights of a Res2Net under our names.
        scales (int): Number of its splits.
    """
    deep_stem = 'stem.0.weight' in state
    blocks = [(int(match[1]) - 1, int(match[2])) for match in map(OWN_BLOCK.fullmatch, state) if match]
    counts = [sum(stage == i for stage, _ in blocks) for i in range(4)]
    return _table({(stage, block): _block_name(stage, block, counts[2], deep_stem) for stage, block in blocks}, scales,
                  deep_stem)


def _block_name(stage: int, block: int, third: int, deep_stem: bool) -> str:
    """The name of a block in its 3×3, such as 'res4f', or 'res4b5' where the third stage is long."""
    numbered = stage == 2 and third in ((23, 36, 48) if deep_stem else (23, 36))
    return f'res{stage + 2}' + (f'b{block}' if numbered and block else chr(ord('a') + block))


def _table(blocks: Mapping[tuple[int, int], str], scales: int, deep_stem: bool) -> dict[str, str]:
    """The table of the names of all layers, of those of the blocks by stage and place, both from 0."""
    layers = dict(DEEP_STEM if deep_stem else STEM)
    for (stage, block), name in blocks.items():
        theirs, ours = f'bb_{stage}_{block}', f'layer{stage + 1}.{block}'
        layers[f'{theirs}.conv0'] = f'{ours}.conv1', f'{ours}.bn1'
        for i in range(scales - 1):
            layers[f'{theirs}.{name}_branch2b_{i + 1}'] = f'{ours}.convs.{i}', f'{ours}.bns.{i}'
        layers[f'{theirs}.conv2'] = f'{ours}.conv3', f'{ours}.bn3'
        if block == 0:  # the pooling before the convolution, which vd has, counts in our names
            layers[f'{theirs}.short'] = f'{ours}.downsample.{int(deep_stem)}', f'{ours}.downsample.{1 + deep_stem}'
    names: dict[str, str] = {}
    for layer, (conv, norm) in layers.items():
        names[f'{layer}._conv.'] = f'{conv}.'
        names[f'{layer}._batch_norm._mean'] = f'{norm}.running_mean'
        names[f'{layer}._batch_norm._variance'] = f'{norm}.running_var'
        names[f'{layer}._batch_norm.'] = f'{norm}.'
    return names


def own_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with PaddleClas's classifier, ``out``, as ours, ``fc``."""
    return _renamed_classifier(state, 'out', 'fc')


def paddle_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with our classifier, ``fc``, as PaddleClas's, ``out``."""
    return _renamed_classifier(state, 'fc', 'out')


def _renamed_classifier(state: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    names = {f'{old}.{part}': f'{new}.{part}' for part in ('weight', 'bias')}
    return {names.get(key, key): value.T.contiguous() if key == f'{old}.weight' else value
            for key, value in state.items()}
