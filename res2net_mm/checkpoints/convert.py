"""Checkpoints from one library to another, and what a checkpoint is: the command ``convert_checkpoint.py``."""
import argparse
import re
from collections import Counter
from pathlib import Path

import torch

from ..cli.command import fail
from . import loading as names
from .files import SUFFIXES, read_checkpoint, write_checkpoint
from .loading import find_prefix, is_conv, recognise, rename, unwrap

TYPES = {'ResNet': 'Res2Net', 'DLA': 'DLA', 'Big-Little Net': 'BLRes2Net', 'CIFAR': 'CifarRes2NeXt'}
# What every published ResNet-shaped model has.
PLAIN = dict(base_channels=64, num_stages=4, in_channels=3)
LAYOUTS = ('res2net_mm', 'timm', 'mmdet', 'mmpretrain', 'official')


def main(argv=None):
    """Convert or inspect a checkpoint: the command ``tools/model_converters/convert_checkpoint.py``."""
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint to the names of another library, or say what a checkpoint is.')
    parser.add_argument('src', metavar='SRC', help='checkpoint of any known layout; PyTorch or safetensors')
    parser.add_argument('dst', metavar='DST', nargs='?', help=f'the file to write, {", ".join(SUFFIXES)}')
    parser.add_argument('--to', choices=LAYOUTS, help='the library whose names DST gets')
    parser.add_argument('--inspect', action='store_true',
                        help='only say what SRC is, which preset it fits, and which stage_pool it needs and why')
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')
    args = parser.parse_args(argv)
    if args.inspect and (args.dst or args.to or args.force):
        parser.error('--inspect takes one file and no other option')
    if not args.inspect and not (args.dst and args.to):
        parser.error('give DST and --to, or --inspect')
    try:
        print(inspect(args.src) if args.inspect else convert_file(args.src, args.dst, args.to, args.force))
    except (OSError, ValueError) as error:
        fail(error)


def convert_file(src, dst, to, force=False):
    """Convert a checkpoint file.

    Args:
        src (str | Path): The checkpoint, as for ``read_checkpoint``.
        dst (str | Path): The file to write; never half, and never ``src`` itself.
        to (str): One of ``LAYOUTS``.
        force (bool): Replace ``dst`` if it exists. Defaults to False.

    Returns:
        str: What was done, in words.

    Raises:
        OSError, ValueError: If ``src`` cannot be read or converted, or ``dst`` not written; both stay as they are.
    """
    if Path(src).expanduser().resolve() == Path(dst).expanduser().resolve():
        raise ValueError(f"'{dst}' is the source itself; write to another file")
    checkpoint = read_checkpoint(src)
    state, _ = unwrap(checkpoint)
    converted, notes = convert(state, to)
    content = converted
    if 'meta' in checkpoint and to not in ('timm', 'official'):
        if Path(dst).suffix == '.safetensors':
            notes.append("'meta' (the config, the names of the classes) is left out: safetensors holds weights only")
        else:
            content = dict(meta=checkpoint['meta'], state_dict=converted)
    write_checkpoint(content, dst, force)
    return '\n'.join([f"{dst}: {len(converted)} weights in the layout of {to}", *(f'  {note}' for note in notes)])


def convert(state, to):
    """Give weights the names that another library has for them.

    Args:
        state (dict[str, Tensor]): Weights of a backbone, of a classifier or of a whole model, in any known layout.
        to (str): One of ``LAYOUTS``. A classifier keeps its last layer under that library's name, mmdet's has none. A
            whole detector, segmentor or pose model keeps its other parts, except that timm and the official code have
            none: for them only the backbone is left.

    Returns:
        tuple[dict[str, Tensor], list[str]]: The weights, and remarks on what was left out or added.

    Raises:
        ValueError: If there is no known backbone in ``state``, or ``to`` has no such architecture.
    """
    prefix = find_prefix(state)
    backbone = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    others = {key: value for key, value in state.items() if not key.startswith(prefix)}
    if not any(map(is_block, backbone)):
        raise ValueError(f'no Res2Net or ResNet among its {len(state)} weights: {", ".join(list(state)[:5])}, ...')
    backbone = rename(backbone, recognise(backbone)[1])
    notes = []
    classifier = {key: backbone.pop(key) for key in list(backbone) if key.startswith('fc.')}
    if others and all(key.startswith('head.fc.') for key in others):
        classifier = {key[len('head.'):]: value for key, value in others.items()}
        others = {}

    backbone = rename(backbone, names_of(to, backbone))
    if 'base_layer.0.weight' in backbone:
        _mend_dead_projections(backbone, to, notes)
    if others and to in ('timm', 'official'):
        notes.append(f'left out: {_parts(others)}, which {to} has no place for')
        others = {}
    if classifier and to == 'mmdet':
        notes.append(f'left out: {", ".join(classifier)}; a backbone of mmdet has no classifier')
        classifier = {}
    if others or (classifier and to == 'mmpretrain'):
        backbone = {(prefix or 'backbone.') + key: value for key, value in backbone.items()}
        classifier = {f'head.{key}': value for key, value in classifier.items()}
    return {**backbone, **classifier, **others}, notes


def is_block(key):
    return re.match(r'^(layer|level)\d\..*conv3\.weight$', key) is not None


def names_of(layout, state):
    """Return the table that ``rename`` takes from our names to those of a library.

    Args:
        layout (str): One of ``LAYOUTS``.
        state (dict[str, Tensor]): Weights of a backbone under our names.

    Raises:
        ValueError: If the library has no such architecture.
    """
    deep_stem = 'stem.0.weight' in state
    avg_down = is_conv(state.get('layer2.0.downsample.1.weight'))
    scales = scales_of(state)
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

    theirs = {}
    if deep_stem and layout in ('timm', 'official', 'mmpretrain'):
        theirs.update(names.MMPRETRAIN_STEM if layout == 'mmpretrain' else names.OFFICIAL_STEM)
    if layout == 'mmpretrain':
        theirs.update(names.MMPRETRAIN_SE)
        if scales == 1 and avg_down:
            theirs.update(names.unpooled_shortcut(1))
    if scales == 1 and layout in ('timm', 'mmdet', 'mmpretrain'):
        theirs.update(names.RESNET_BLOCK)
    return {ours: name for name, ours in theirs.items()}


def scales_of(state):
    """Return the number of splits: the widest ratio of a block's first 1x1 to its first 3x3."""
    part = '.convs.0.weight'
    return max(state[key.replace(part, '.conv1.weight')].shape[0] // state[key].shape[0]
               for key in state if key.endswith(part))


def _mend_dead_projections(state, to, notes):
    """Official DLA has projections whose output it never uses, and insists on weights for them; timm has none."""
    dead = [key for key in state if names.DEAD_PROJECTION.match(key)]
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


def _parts(keys):
    return ', '.join(f'{name} ({count})' for name, count in Counter(key.split('.')[0] for key in keys).items())


def inspect(path):
    """Describe a checkpoint file.

    Args:
        path (str | Path): The file, as for ``read_checkpoint``.

    Returns:
        str: A line each for its layout, wrapper, prefix, architecture, preset, ``stage_pool`` and backbone config.

    Raises:
        OSError, ValueError: If it cannot be read.
    """
    checkpoint = read_checkpoint(path)
    state, wrapper = unwrap(checkpoint)
    prefix = find_prefix(state)
    stored = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    others = [key for key in state if not key.startswith(prefix)]
    layout, renames = recognise(stored)
    lines = {
        'file': f'{path}, {Path(path).expanduser().stat().st_size / 1e6:.1f} MB, {len(state)} weights',
        'wrapper': (wrapper or 'none') + _beside(checkpoint),
        'prefix': f"'{prefix}'" + (f'; beside it: {_parts(others)}' if others else ''),
        'layout': layout,
    }
    if not any(map(is_block, stored)):
        lines['layout'] = f'no Res2Net or ResNet; it begins with {", ".join(list(state)[:3])}'
        return _aligned(lines)
    own = rename(stored, renames)
    arguments = architecture(own)
    lines['architecture'] = ', '.join(f'{name}={value}' for name, value in arguments.items())
    lines['preset'] = preset(arguments) or 'none; the arguments above say it all'
    classifier = any(key.startswith('fc.') for key in own) or any(key.startswith('head.fc.') for key in others)
    pool, why = stage_pool(layout, arguments, classifier, bool(others), _config_text(checkpoint))
    lines['stage_pool'] = f"'{pool}': {why}" if pool else why
    lines['config'] = backbone_config(arguments, pool, path)
    if layout.startswith('maskrcnn-benchmark'):
        lines['caveats'] = ("its FrozenBatchNorm adds no eps to the variance; its default puts the stride on the 1x1: "
                            "style='caffe'")
    return _aligned(lines)


def _aligned(lines):
    return '\n'.join(f'{name + ":":14}{value}' for name, value in lines.items())


def _beside(checkpoint):
    beside = [str(key) for key, value in checkpoint.items() if not isinstance(value, torch.Tensor)]
    return f'; the file holds {", ".join(beside)}' if beside else ''


def _config_text(checkpoint):
    """The config that mmengine (mmcv 1 before it) stores with a model that was trained."""
    meta = checkpoint.get('meta')
    text = (meta.get('cfg') or meta.get('config')) if isinstance(meta, dict) else None
    return text if isinstance(text, str) else ''


def architecture(state):
    """Recover a backbone's arguments from the shapes of its weights.

    Args:
        state (dict[str, Tensor]): Its weights under our names.

    Returns:
        dict: ``trunk``, a key of ``TYPES``, and the arguments that differ between published models. What leaves no
        trace in the shapes (strides, dilations, style, ``stage_pool``) is not among them.
    """
    blocks = [key[:-len('conv3.weight')] for key in state if is_block(key)]
    # The last block of the first stage: CIFAR models begin their stages with a block that has no splits.
    block = [name for name in blocks if name.startswith(('layer1.', 'level2.'))][-1]
    stem = state.get('stem.0.weight', state.get('conv1.weight'))
    trunk = ('DLA' if 'base_layer.0.weight' in state else 'Big-Little Net' if 'b_conv0.weight' in state else
             'CIFAR' if 'stem.0.weight' not in state and is_conv(stem) and stem.shape[2] == 3 else 'ResNet')
    conv = state[f'{block}convs.0.weight']
    groups = conv.shape[0] // conv.shape[1]
    found = dict(trunk=trunk, scales=scales_of(state), base_width=conv.shape[0] // groups, groups=groups)
    if trunk == 'CIFAR':
        found['depth'] = 3 * len(blocks) + 2
    if trunk != 'ResNet':
        return found

    counts = Counter(int(name[len('layer')]) for name in blocks)
    stages = tuple(counts[i] for i in sorted(counts))
    from ..models import Res2Net
    depths = [depth for depth, numbers in Res2Net.stage_blocks.items() if numbers[:len(stages)] == stages]
    found['depth'] = depths[0] if depths else f'unknown {stages}'
    found['base_channels'] = base_channels = state[f'{block}conv3.weight'].shape[0] // Res2Net.expansion
    widths = [state[f'layer{i}.0.convs.0.weight'].shape[0] for i in sorted(counts)]
    found['base_width'] = next((w for w in range(1, 1025) if widths == [
        base_channels * 2**i * w // 64 * groups for i in range(len(widths))]), None)
    found['num_stages'] = len(stages)
    found['deep_stem'] = 'stem.0.weight' in state
    found['avg_down'] = any(is_conv(state.get(f'layer{i}.0.downsample.1.weight')) for i in counts)
    found['in_channels'] = stem.shape[1] if is_conv(stem) else 3
    se = state.get(f'{block}se.fc1.weight')
    found['se_reduction'] = se.shape[1] // se.shape[0] if se is not None else 0
    return found


def preset(arguments):
    """Return the name of the published architecture with these arguments (a key of an ``ARCHS``), or None."""
    from ..models.backbones import dla, res2net
    if arguments['trunk'] == 'DLA':
        named = dla.ARCHS
    elif arguments['trunk'] == 'ResNet':
        named = {name: {**PLAIN, **res2net.DEFAULT_ARCH, **differing} for name, differing in res2net.ARCHS.items()}
    else:
        return None
    arguments = {name: value for name, value in arguments.items() if name != 'trunk'}
    return next((name for name, values in named.items() if values == arguments), None)


def stage_pool(layout, arguments, classifier, whole_model, config_text):
    """Say which ``stage_pool`` computes the function that the weights were trained as.

    Args:
        layout (str): As ``recognise`` says it.
        arguments (dict): As ``architecture`` returns them.
        classifier (bool): Whether an ImageNet classifier comes with the weights.
        whole_model (bool): Whether other parts of a model come with them.
        config_text (str): The config that is stored with them, or ''.

    Returns:
        tuple[str | None, str]: The value, None where it changes nothing; and the reason.
    """
    if arguments['scales'] == 1:
        return None, 'changes nothing: without splits there is nothing to pool'
    if arguments['trunk'] != 'ResNet':
        return None, 'not an argument of this trunk: it pools where the published code does'
    ours = re.search(r"type='res2net_mm\.Res2Net'", config_text)
    if ours:
        value = 'strided' if re.search(r"stage_pool='strided'", config_text) else 'always'
        return value, 'the config that is stored with the weights says so'
    if classifier:
        return 'always', 'an ImageNet classifier, and all of them were trained with the pooling'
    if not layout.startswith('mmdet'):
        return 'always', (f'the names are those of {layout}, whose code always pools'
                          if 'v1b' in layout or 'maskrcnn' in layout or layout.startswith('mmpretrain') else
                          "a 7x7 stem, which mmdet's own Res2Net cannot have, and all others always pool")
    if whole_model:
        seen = ', as the config that is stored with it shows' if re.search(r"type='Res2Net'", config_text) else ''
        return 'strided', (f"a whole model with mmdet's names{seen}: mmdet's own Res2Net pools only at stride 2"
                           + ('' if seen else ". The keys cannot tell whether type='res2net_mm.Res2Net' trained it: "
                              "then it is what its config had, by default 'always'"))
    return 'always', ("a backbone alone with mmdet's names: most likely converted ImageNet weights, which were trained "
                      "with the pooling (mmdet itself runs them as 'strided'). If it was cut out of a detector that "
                      "mmdet trained, it is 'strided'; the keys cannot tell")


def backbone_config(arguments, pool, path):
    """Return the line of a config that builds the backbone and loads the file."""
    if isinstance(arguments.get('depth'), str) or arguments['base_width'] is None:
        return 'none: no depth or no base_width of ours gives these shapes'
    from ..models.backbones.res2net import DEFAULT_ARCH
    usual = {**PLAIN, **DEFAULT_ARCH} if arguments['trunk'] == 'ResNet' else {}
    name = preset(arguments)
    shown = dict(arch=name) if name else {
        name: value for name, value in arguments.items() if name != 'trunk' and usual.get(name) != value}
    if arguments.get('num_stages', 4) < 4:
        n = arguments['num_stages']
        shown.update(strides=(1, 2, 2, 2)[:n], dilations=(1, ) * n, out_indices=tuple(range(n)))
    if pool == 'strided':
        shown['stage_pool'] = pool
    text = ''.join(f'{name}={value!r}, ' for name, value in shown.items())
    return (f"backbone=dict(type='res2net_mm.{TYPES[arguments['trunk']]}', {text}"
            f"init_cfg=dict(type='Pretrained', checkpoint={str(path)!r}))")
