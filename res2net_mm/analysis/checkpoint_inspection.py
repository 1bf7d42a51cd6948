"""What a checkpoint is: its layout, the architecture that fits it, and the ``stage_pool`` it needs.

It stands above ``checkpoints``, which knows keys and files only: to name an architecture takes ``models/names.py``.
"""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.convert import count_parts
from ..checkpoints.files import read_checkpoint
from ..checkpoints.layouts import PADDLE, adopt, count_splits, is_block, is_conv
from ..checkpoints.loading import find_prefix, unwrap
from ..checkpoints.paddle_layout import FUNCTION
from ..models.backbones.res2net import Res2Net
from ..models.names import RES2NET_ARGUMENTS, find_name, resolve

RES2NET, DLA, BL_RES2NET, CIFAR = (
    f'res2net_mm.{name}' for name in ('Res2Net', 'DLA', 'BLRes2Net', 'CifarRes2NeXt'))
# What the named ResNet-shaped models have in common, beside what their names say.
COMMON = dict(base_channels=64, num_stages=4, in_channels=3)
STEMS = ('base_layer.0.weight', 'stem.0.weight', 'conv1.weight')  # the first convolution of a backbone


@dataclass(frozen=True)
class CheckpointReport:
    """What a checkpoint file is, a line of text for each aspect; '' for those that it does not have.

    Args:
        file (str): Its path, size and number of weights.
        wrapper (str): What stands around the weights in the file, and beside them.
        prefix (str): What stands before the keys of the backbone, and the other parts of the model.
        layout (str): The library that names keys like this.
        architecture (str): The arguments that the shapes of the weights show.
        preset (str): The name of the architecture.
        stage_pool (str): The ``stage_pool`` that it needs, and why.
        config (str): The config of a backbone that loads it.
        caveats (str): What differs all the same.
    """

    file: str
    wrapper: str
    prefix: str
    layout: str
    architecture: str = ''
    preset: str = ''
    stage_pool: str = ''
    config: str = ''
    caveats: str = ''

    def __str__(self) -> str:
        lines = {field.name: getattr(self, field.name) for field in fields(self)}
        return '\n'.join(f'{name + ":":14}{text}' for name, text in lines.items() if text)


@dataclass(frozen=True)
class RecoveredBackbone:
    """A backbone as the shapes of its weights show it.

    Args:
        type (str): The registered backbone.
        arguments (dict): The arguments that differ between published models; those that leave no trace in the shapes
            (strides, dilations, style, ``stage_pool``) are not among them. No ``depth`` or no ``base_width`` of ours
            may give the shapes: then they are a text and None.
    """

    type: str
    arguments: dict[str, Any]

    def name(self, stage_pool: str | None = None) -> str | None:
        """The name of an architecture of these shapes, of this ``stage_pool`` if there is one; None if it has none."""
        arguments = dict(self.arguments)
        if self.type == RES2NET:
            if any(arguments.pop(key) != value for key, value in COMMON.items()):
                return None
        elif self.type != DLA or 'in_channels' in arguments:  # not all arguments of the others are recovered
            return None
        return find_name(self.type, dict(arguments, stage_pool=stage_pool)) or find_name(self.type, arguments)


def inspect_checkpoint(path: str | Path) -> CheckpointReport:
    """Describe a checkpoint file.

    Args:
        path (str | Path): The file, as for ``read_checkpoint``.

    Returns:
        CheckpointReport: Its layout, architecture, name, ``stage_pool`` and so on; ``str`` of it is a text.

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    checkpoint = read_checkpoint(path)
    state, wrapper = unwrap(checkpoint)
    prefix = find_prefix(state)
    stored = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    others = [key for key in state if not key.startswith(prefix)]
    layout, own = adopt(stored)
    lines = dict(
        file=f'{path}, {Path(path).expanduser().stat().st_size / 1e6:.1f} MB, {len(state)} weights',
        wrapper=(wrapper or 'none') + _beside_the_weights(checkpoint),
        prefix=f"'{prefix}'" + (f'; beside it: {count_parts(others)}' if others else ''))
    if not any(map(is_block, own)):
        return CheckpointReport(
            **lines, layout=f'no Res2Net or ResNet; it begins with {", ".join(list(state)[:3])}')
    backbone = recover_backbone(own)
    classifier = any(key.startswith('fc.') for key in own) or any(key.startswith('head.fc.') for key in others)
    pool, why = recommend_stage_pool(layout, backbone, classifier, bool(others), _stored_config(checkpoint))
    caveats = ("its FrozenBatchNorm adds no eps to the variance; its default puts the stride on the 1x1: "
               "style='caffe'") if layout.startswith('maskrcnn-benchmark') else ''
    return CheckpointReport(
        **lines,
        layout=layout,
        architecture=', '.join([backbone.type, *(f'{name}={value}' for name, value in backbone.arguments.items())]),
        preset=backbone.name(pool) or 'none; the arguments above say it all',
        stage_pool=f"'{pool}': {why}" if pool else why,
        config=backbone_config(backbone, pool, path),
        caveats=caveats)


def _beside_the_weights(checkpoint: dict) -> str:
    keys = [str(key) for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    return f'; the file holds {", ".join(keys)}' if keys else ''


def _stored_config(checkpoint: dict) -> str:
    """The config that mmengine (mmcv 1 before it) stores with a model that was trained."""
    meta = checkpoint.get('meta')
    text = (meta.get('cfg') or meta.get('config')) if isinstance(meta, dict) else None
    return text if isinstance(text, str) else ''


def recover_backbone(state: dict[str, Tensor]) -> RecoveredBackbone:
    """Recover a backbone's arguments from the shapes of its weights.

    Args:
        state (dict[str, Tensor]): Its weights under our names.
    """
    blocks = [key[:-len('conv3.weight')] for key in state if is_block(key)]
    # The last block of the first stage: CIFAR models begin their stages with a block that has no splits.
    block = [name for name in blocks if name.startswith(('layer1.', 'level2.'))][-1]
    conv = state[f'{block}convs.0.weight']
    groups = conv.shape[0] // conv.shape[1]
    arguments: dict[str, Any] = dict(scales=count_splits(state), base_width=conv.shape[0] // groups, groups=groups)
    stem = next((state[name] for name in STEMS if name in state), None)
    in_channels = stem.shape[1] if is_conv(stem) else COMMON['in_channels']
    other = {} if in_channels == COMMON['in_channels'] else dict(in_channels=in_channels)
    if 'base_layer.0.weight' in state:
        return RecoveredBackbone(DLA, {**arguments, **other})
    if 'b_conv0.weight' in state:
        return RecoveredBackbone(BL_RES2NET, {**arguments, **other})
    if 'stem.0.weight' not in state and is_conv(stem) and stem.shape[2] == 3:
        return RecoveredBackbone(CIFAR, dict(arguments, depth=3 * len(blocks) + 2, **other))

    counts = Counter(int(name[len('layer')]) for name in blocks)
    stages = tuple(counts[i] for i in sorted(counts))
    depths = [depth for depth, numbers in Res2Net.stage_blocks.items() if numbers[:len(stages)] == stages]
    base_channels = state[f'{block}conv3.weight'].shape[0] // Res2Net.expansion
    widths = [state[f'layer{i}.0.convs.0.weight'].shape[0] for i in sorted(counts)]
    se = state.get(f'{block}se.fc1.weight')
    return RecoveredBackbone(RES2NET, dict(
        arguments,
        depth=depths[0] if depths else f'unknown {stages}',
        base_channels=base_channels,
        base_width=next((width for width in range(1, 1025) if widths == [
            base_channels * 2**i * width // 64 * groups for i in range(len(widths))]), None),
        num_stages=len(stages),
        deep_stem='stem.0.weight' in state,
        avg_down=any(is_conv(state.get(f'layer{i}.0.downsample.1.weight')) for i in counts),
        in_channels=in_channels,
        se_reduction=se.shape[1] // se.shape[0] if se is not None else 0))


def recommend_stage_pool(layout: str, backbone: RecoveredBackbone, classifier: bool, whole_model: bool,
                         config: str) -> tuple[str | None, str]:
    """Find the ``stage_pool`` that computes the function that the weights were trained as.

    Args:
        layout (str): As ``recognise`` says it.
        backbone (RecoveredBackbone): As ``recover_backbone`` returns it.
        classifier (bool): Whether an ImageNet classifier comes with the weights.
        whole_model (bool): Whether other parts of a model come with them.
        config (str): The config that is stored with them, or ''.

    Returns:
        tuple[str | None, str]: The value, None where it changes nothing; and the reason.
    """
    if backbone.arguments['scales'] == 1:
        return None, 'changes nothing: without splits there is nothing to pool'
    if backbone.type != RES2NET:
        return None, 'not an argument of this trunk: it pools where the published code does'
    if re.search(r"type='res2net_mm\.Res2Net'", config):
        return _configured_stage_pool(config), 'the config that is stored with the weights says so'
    if layout == PADDLE:
        return FUNCTION, 'the names are those of PaddleClas, whose code computes this'
    if classifier:
        return 'always', 'an ImageNet classifier, and all of them were trained with the pooling'
    if not layout.startswith('mmdet'):
        return 'always', (f'the names are those of {layout}, whose code always pools'
                          if 'v1b' in layout or 'maskrcnn' in layout or layout.startswith('mmpretrain') else
                          "a 7x7 stem, which mmdet's own Res2Net cannot have, and all others always pool")
    if whole_model:
        shown = ', as the config that is stored with it shows' if re.search(r"type='Res2Net'", config) else ''
        return 'strided', (f"a whole model with mmdet's names{shown}: mmdet's own Res2Net pools only at stride 2"
                           + ('' if shown else ". The keys cannot tell whether type='res2net_mm.Res2Net' trained it: "
                              "then it is what its config had, by default 'always'"))
    return 'always', ("a backbone alone with mmdet's names: most likely converted ImageNet weights, which were trained "
                      "with the pooling (mmdet itself runs them as 'strided'). If it was cut out of a detector that "
                      "mmdet trained, it is 'strided'; the keys cannot tell")


def _configured_stage_pool(config: str) -> str:
    given, arch = (re.search(rf"{name}='([^']*)'", config) for name in ('stage_pool', 'arch'))
    if given:
        return given[1]
    try:
        return str(resolve(arch[1] if arch else 'res2net50_26w4s').arguments['stage_pool'])
    except (KeyError, ValueError):  # a name of somebody else's
        return str(RES2NET_ARGUMENTS['stage_pool'])


def backbone_config(backbone: RecoveredBackbone, stage_pool: str | None, path: str | Path) -> str:
    """Write the line of a config that builds the backbone and loads the file.

    Args:
        backbone (RecoveredBackbone): As ``recover_backbone`` returns it.
        stage_pool (str | None): As ``recommend_stage_pool`` returns it.
        path (str | Path): The file.
    """
    arguments = backbone.arguments
    if isinstance(arguments.get('depth'), str) or arguments['base_width'] is None:
        return 'none: no depth or no base_width of ours gives these shapes'
    usual = {**COMMON, **RES2NET_ARGUMENTS} if backbone.type == RES2NET else {}
    arch = backbone.name(stage_pool)
    shown: dict[str, Any] = dict(arch=arch) if arch else {
        name: value for name, value in arguments.items() if usual.get(name) != value}
    if arguments.get('num_stages', 4) < 4:
        n = arguments['num_stages']
        shown.update(strides=(1, 2, 2, 2)[:n], dilations=(1, ) * n, out_indices=tuple(range(n)))
    default = (resolve(arch).arguments if arch else RES2NET_ARGUMENTS).get('stage_pool')
    if stage_pool not in (None, default):
        shown['stage_pool'] = stage_pool
    text = ''.join(f'{name}={value!r}, ' for name, value in shown.items())
    return (f"backbone=dict(type='{backbone.type}', {text}"
            f"init_cfg=dict(type='Pretrained', checkpoint={str(path)!r}))")
