"""Checkpoints from the names of one library to those of another."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Iterable

import torch
from torch import Tensor

from .files import WEIGHTS_ONLY, read_checkpoint, write_checkpoint
from .input_channels import adapt_weight, find_first_convolution
from .layouts import (
    DEAD_PROJECTION,
    MMPRETRAIN_SE,
    MMPRETRAIN_STEM,
    OFFICIAL_STEM,
    RESNET_BLOCK,
    adopt,
    count_splits,
    is_block,
    is_conv,
    rename,
    unpooled_shortcut,
)
from .loading import find_prefix, unwrap
from .paddle_layout import FUNCTION, names_for, paddle_classifier

LAYOUTS = ('res2net_mm', 'timm', 'mmdet', 'mmpretrain', 'official', 'paddle')
CLASSIFIERS_ALONE = ('timm', 'official', 'paddle')  # they have no larger models, and nothing around the weights


def convert_file(src: str | Path, dst: str | Path, to: str, force: bool = False, in_channels: int | None = None) -> str:
    """Convert a checkpoint file.

    Args:
        src (str | Path): The checkpoint, as for ``read_checkpoint``.
        dst (str | Path): The file to write; never half, and never ``src`` itself.
        to (str): One of ``LAYOUTS``.
        force (bool): Replace ``dst`` if it exists. Defaults to False.
        in_channels (int | None): As for ``convert``. Defaults to None.

    Returns:
        str: A report of what was done.

    Raises:
        OSError, ValueError: If ``src`` cannot be read or converted, or ``dst`` not written; both stay as they are.
    """
    if Path(src).expanduser().resolve() == Path(dst).expanduser().resolve():
        raise ValueError(f"'{dst}' is the source itself; write to another file")
    checkpoint = read_checkpoint(src)
    state, _ = unwrap(checkpoint)
    converted, notes = convert(state, to, in_channels)
    content = converted
    if 'meta' in checkpoint and to not in CLASSIFIERS_ALONE:
        if Path(dst).suffix in WEIGHTS_ONLY:
            notes.append("'meta' (such as the names of the classes) is left out: a "
                         f'{Path(dst).suffix} file holds weights only')
        else:
            content = dict(meta=_without_code(checkpoint['meta']), state_dict=converted)
    write_checkpoint(content, dst, force)
    return '\n'.join([f"{dst}: {len(converted)} weights in the layout of {to}", *(f'  {note}' for note in notes)])


def _without_code(meta: Any) -> Any:
    """Leave out the text of a config: a stranger wrote it, and mmengine's inferencers and Runner would execute it."""
    return {key: value for key, value in meta.items() if key not in ('cfg', 'config')} if isinstance(meta, dict) else {}


def convert(state: dict[str, Tensor], to: str, in_channels: int | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """Give weights the names that another library has for them.

    Args:
        state (dict[str, Tensor]): Weights of a backbone, of a classifier or of a whole model, in any known layout.
        to (str): One of ``LAYOUTS``. A classifier keeps its last layer under that library's name, mmdet's has none. A
            whole detector, segmentor or pose model keeps its other parts, except that timm, the official code and
            PaddleClas have none: for them only the backbone is left.
        in_channels (int | None): Channels of the images that the weights shall be for, see ``adapt_weight``. Defaults
            to None, as they are.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The weights, and remarks on what was left out or added.

    Raises:
        ValueError: If there is no known backbone in ``state``, ``to`` has no such architecture, or the weights cannot
            be adapted.
    """
    prefix = find_prefix(state)
    backbone = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    backbone = adopt(backbone)[1]
    if not any(map(is_block, backbone)):
        raise ValueError(f'no Res2Net or ResNet among its {len(state)} weights: {", ".join(list(state)[:5])}, ...')
    notes: list[str] = []
    if in_channels is not None:
        _adapt_in_channels(backbone, in_channels, notes)
    classifier = {key: backbone.pop(key) for key in list(backbone) if key.startswith('fc.')}
    if others and all(key.startswith('head.fc.') for key in others):
        classifier = {key[len('head.'):]: value for key, value in others.items()}
        others = {}

    backbone = rename(backbone, target_names(to, backbone))
    if 'base_layer.0.weight' in backbone:
        _mend_dead_projections(backbone, to, notes)
    if others and to in CLASSIFIERS_ALONE:
        notes.append(f'left out: {count_parts(others)}, which {to} has no place for')
        others = {}
    if classifier and to == 'mmdet':
        notes.append(f'left out: {", ".join(classifier)}; a backbone of mmdet has no classifier')
        classifier = {}
    if to == 'paddle':
        backbone = {key: value for key, value in backbone.items() if not key.endswith('num_batches_tracked')}
        classifier = paddle_classifier(classifier)
        notes.append(f"PaddleClas computes stage_pool='{FUNCTION}'; weights that were trained as another function give "
                     'other features there')
    if others or (classifier and to == 'mmpretrain'):
        backbone = {(prefix or 'backbone.') + key: value for key, value in backbone.items()}
        classifier = {f'head.{key}': value for key, value in classifier.items()}
    return {**backbone, **classifier, **others}, notes


def target_names(layout: str, state: dict[str, Tensor]) -> dict[str, str]:
    """Make the table that ``rename`` takes from our names to those of a library.

    Args:
        layout (str): One of ``LAYOUTS``.
        state (dict[str, Tensor]): Weights of a backbone under our names.

    Raises:
        ValueError: If the library has no such architecture.
    """
    deep_stem = 'stem.0.weight' in state
    avg_down = is_conv(state.get('layer2.0.downsample.1.weight'))
    scales = count_splits(state)
    se = any('.se.fc1.' in key for key in state)
    if layout in ('mmdet', 'mmpretrain'):
        if 'base_layer.0.weight' in state or 'b_conv0.weight' in state:
            raise ValueError(f'{layout} has neither DLA nor Big-Little Net')
        first = state['layer1.0.convs.0.weight']
        if scales > 1 and first.shape[0] != first.shape[1]:
            raise ValueError(f"{layout}'s Res2Net has no groups, and this is a Res2NeXt")
        if se and (layout == 'mmdet' or scales > 1):
            raise ValueError(f'{layout} has no {"ResNet" if scales == 1 else "Res2Net"} with squeeze-and-excitation')
    if layout == 'mmdet' and scales > 1 and not (deep_stem and avg_down):
        raise ValueError("mmdet's Res2Net has only the deep stem and the pooled shortcuts of v1b, and this is a v1; in "
                         "mmdet's configs type='res2net_mm.Res2Net' loads the file as it is")
    if layout == 'official' and se:
        raise ValueError('the official code has no squeeze-and-excitation')

    if layout == 'paddle':
        _check_paddle_has(state, scales)
        return {own_name: name for name, own_name in names_for(state, scales).items()}

    renames: dict[str, str] = {}
    if deep_stem and layout in ('timm', 'official', 'mmpretrain'):
        renames.update(MMPRETRAIN_STEM if layout == 'mmpretrain' else OFFICIAL_STEM)
    if layout == 'mmpretrain':
        renames.update(MMPRETRAIN_SE)
        if scales == 1 and avg_down:
            renames.update(unpooled_shortcut(1))
    if scales == 1 and layout in ('timm', 'mmdet', 'mmpretrain'):
        renames.update(RESNET_BLOCK)
    return {own_name: name for name, own_name in renames.items()}


def _check_paddle_has(state: dict[str, Tensor], scales: int) -> None:
    first = state.get('layer1.0.convs.0.weight')
    avg_down = is_conv(state.get('layer2.0.downsample.1.weight'))
    absent = {
        'a trunk of another shape': first is None or 'layer4.0.conv3.weight' not in state,
        'blocks without splits': scales == 1,
        'groups': first is not None and first.shape[0] != first.shape[1],
        'squeeze-and-excitation': any('.se.fc1.' in key for key in state),
        'a deep stem without pooled shortcuts, or these without it': ('stem.0.weight' in state) != avg_down,
    }
    if any(absent.values()):
        raise ValueError('PaddleClas has no Res2Net with ' + ', '.join(name for name, here in absent.items() if here))


def _adapt_in_channels(state: dict[str, Tensor], in_channels: int, notes: list[str]) -> None:
    key = find_first_convolution(state)
    if key is None or in_channels < 1:
        raise ValueError(f'in_channels={in_channels}: ' + ('must be at least 1' if in_channels < 1 else
                                                           'no weight of a first convolution is there'))
    channels = state[key].shape[1]
    state[key] = adapt_weight(state[key], in_channels)
    notes.append(f'images: {channels} channels before, {in_channels} now')


def _mend_dead_projections(state: dict[str, Tensor], to: str, notes: list[str]) -> None:
    """Official DLA has projections whose output it never uses, and insists on weights for them; timm has none."""
    dead = [key for key in state if DEAD_PROJECTION.match(key)]
    if to == 'timm' and dead:
        for key in dead:
            del state[key]
        notes.append(f'left out: {len(dead)} weights of projections whose output is never used')
    if to == 'official' and not dead:
        for name, used in (('level3', 'level3.tree1'), ('level4', 'level4.tree1.tree1'),
                           ('level4.tree1', 'level4.tree1.tree1')):
            for key in [key for key in state if key.startswith(f'{used}.project.')]:
                state[name + key[len(used):]] = torch.zeros_like(state[key])
        notes.append('added: zeros for the projections whose output the official code computes and never uses')


def count_parts(keys: Iterable[str]) -> str:
    """Count the weights of each part of a model, as text: 'neck (12), bbox_head (4)'."""
    return ', '.join(f'{name} ({count})' for name, count in Counter(key.split('.')[0] for key in keys).items())
