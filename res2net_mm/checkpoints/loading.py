"""Loading weights into a backbone: every published key layout is recognised, and nothing is loaded by half.

The keys of our own backbones are ``layer{1..4}.{b}.conv1|bn1|convs.{i}|bns.{i}|conv3|bn3|se.fc{1,2}|downsample.{j}``,
which all public Res2Nets share, and ``conv1|bn1`` (v1) or ``stem.{0..8}`` (v1b, as mmdet names it) for the stem. Trunks
of other shapes have the keys of the code that their weights were published with.
"""
import re
from collections import Counter

import torch
from mmengine.logging import print_log

# The tables give theirs: ours. A name that starts with a dot is one inside a block, any other is the start of the key.
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
RESNET_BLOCK = {'.conv2.': '.convs.0.', '.bn2.': '.bns.0.'}  # scales=1: torchvision, timm, mmdet, mmpretrain

# Layers whose presence tells the layouts apart that need no other names for the stem.
OWN_STEMS = {
    'stem.0.weight': 'mmdet or res2net_mm',
    'level3.project.0.weight': 'official DLA',
    'base_layer.0.weight': 'timm DLA or res2net_mm',
    'b_conv0.weight': 'official bLResNet or res2net_mm',
    'conv1.weight': 'official, timm, mmpretrain or res2net_mm',
}
WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'state_dict_ema', 'ema_state_dict', 'model_ema', 'ema')
BACKBONE = re.compile(r'^((?:.*\.)?)(?:layer1\.0|layer1\.big\.0|level2\.tree1)\.conv1\.weight$')
CLASSIFIER = re.compile(r'^(fc|head|neck)\.')
# Official DLA runs these projections and uses their output nowhere.
DEAD_PROJECTION = re.compile(r'^level(3|4|4\.tree1)\.project\.')


def adapt_state_dict(backbone, state_dict, prefix=''):
    """Give a checkpoint's weights this backbone's names, or say what does not fit.

    What was recognised goes to mmengine's current log.

    Args:
        backbone (nn.Module): Where the weights are going. Of its attributes, ``variant`` names it in messages, and
            ``unneeded`` (() if there is none) says how the keys start that it leaves in a whole checkpoint.
        state_dict (dict[str, Tensor]): The checkpoint's weights; changed in place.
        prefix (str): Where the backbone's keys start in ``state_dict``. Under the prefix '' a checkpoint of a whole
            model, and what frameworks wrap around the weights, are recognised too. Defaults to ''.

    Raises:
        ValueError: If a weight of the backbone is missing, has another shape, or is left over. Classifier heads, and
            what is ``unneeded``, may be left over.
    """
    stored = {key[len(prefix):]: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
    wrapper = ''
    if not prefix:
        stored, wrapper = unwrap(stored)
    inner = find_prefix(stored)
    aside = Counter(key.split('.')[0] for key in stored if not key.startswith(inner))
    stored = {key[len(inner):]: value for key, value in stored.items() if key.startswith(inner)}
    layout, renames = recognise(stored)
    stored = rename(stored, renames)

    expected = backbone.state_dict()
    unneeded = getattr(backbone, 'unneeded', ())
    for key in list(stored):
        if key not in expected and (CLASSIFIER.match(key) or DEAD_PROJECTION.match(key) or key.startswith(unneeded)):
            aside[key.split('.')[0]] += 1
            del stored[key]
    _check_complete(backbone, expected, stored, prefix)
    state_dict.update({prefix + key: value for key, value in stored.items()})

    where = [f"in '{wrapper}'"] if wrapper else []
    where += [f"under '{prefix}{inner}'"] if prefix + inner else []
    unused = [f'{name} ({count})' for name, count in aside.items()]
    print_log(f'{_variant(backbone)}: recognised the weights as {layout}' + ''.join(f', {part}' for part in where)
              + (f'; not needed: {", ".join(unused)}' if unused else '') + _caveat(layout), logger='current')


def adapt_classifier(state_dict):
    """Give the weights of a public ImageNet model the names of mmpretrain's ImageClassifier.

    These are ``backbone.*`` and ``head.fc.*``; a checkpoint that has them already is left alone. The names inside the
    backbone are adapted when that is loaded.

    Args:
        state_dict (dict[str, Tensor]): The checkpoint's weights; changed in place.
    """
    if any(key.startswith('backbone.') for key in state_dict):
        return
    weights, _ = unwrap(state_dict)
    state_dict.clear()
    for key, value in weights.items():
        if key.startswith('fc.'):
            state_dict[f'head.{key}'] = value.flatten(1) if value.dim() > 1 else value  # DLA's is a 1x1 convolution
        else:
            state_dict[f'backbone.{key}'] = value


def unwrap(checkpoint):
    """Take the weights out of what training frameworks store around them.

    Args:
        checkpoint (dict): What a file holds: the weights themselves, or a dict that has them under one of ``WRAPPERS``
            (the first that is there: the weights of the model come before their moving average).

    Returns:
        tuple[dict[str, Tensor], str]: The weights, without a 'module.' that all share, and the names of the wrappers.
    """
    names = []
    while True:
        name = next((name for name in WRAPPERS if isinstance(checkpoint.get(name), dict)), None)
        if name is None:
            break
        names.append(name)
        checkpoint = checkpoint[name]
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, torch.Tensor)}
    parallel = {key[len('module.'):]: value for key, value in weights.items() if key.startswith('module.')}
    if parallel and len(parallel) >= len(weights) - 1:  # mmengine counts the 'steps' of an average beside it
        names.append('module')
        weights = parallel
    return weights, '.'.join(names)


def find_prefix(state):
    """Return what stands before the keys of the backbone in a state dict, such as 'backbone.'; '' if nothing does.

    Raises:
        ValueError: If there is more than one backbone, and none of them is ``backbone``.
    """
    found = [match[1] for match in map(BACKBONE.match, state) if match]
    for usual in ('', 'backbone.'):
        if usual in found:
            return usual
    if len(found) > 1:
        raise ValueError(f'The checkpoint holds {len(found)} backbones, {", ".join(found)}; name one: '
                         f"init_cfg=dict(type='Pretrained', checkpoint=..., prefix='{found[0]}')")
    return found[0] if found else ''


def recognise(state):
    """Say who names the keys of a backbone like this.

    Args:
        state (dict[str, Tensor]): Weights of a backbone, without a prefix.

    Returns:
        tuple[str, dict[str, str]]: The layout in words, and the table that ``rename`` takes to arrive at our names.
    """
    renames = {}
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


def unpooled_shortcut(i):
    start = f'layer{i}.0.downsample.'
    return {f'{start}0.': f'{start}1.', f'{start}1.': f'{start}2.'}


def is_conv(weight):
    return weight is not None and weight.dim() == 4


def rename(state, renames):
    """Return a state dict with the names on the left of a table replaced by those on its right, once in every key."""
    return {_renamed(key, renames): value for key, value in state.items()}


def _renamed(key, renames):
    for old, new in renames.items():
        if key.startswith(old):
            return new + key[len(old):]
        if old.startswith('.') and old in key:
            return key.replace(old, new, 1)
    return key


def _check_complete(backbone, expected, stored, prefix):
    problems = {
        'missing': [key for key in expected if key not in stored and not key.endswith('num_batches_tracked')],
        'left over': [key for key in stored if key not in expected],
        'of another shape': [
            f'{key} {tuple(stored[key].shape)} instead of {tuple(expected[key].shape)}' for key in expected
            if key in stored and stored[key].shape != expected[key].shape
        ],
    }
    if not any(problems.values()):
        return
    if not stored:
        raise ValueError(
            f"No weight of the checkpoint starts with '{prefix}': the {_variant(backbone)} backbone would stay random. "
            "An ImageNet checkpoint belongs in the backbone's init_cfg=dict(type='Pretrained', checkpoint=...).")
    found = '; '.join(f'{len(keys)} {what}: {_abridged(keys)}' for what, keys in problems.items() if keys)
    stem = {True: ' (deep stem)', False: ' (7x7 stem)', None: ''}[getattr(backbone, 'deep_stem', None)]
    raise ValueError(f'The checkpoint does not fit {_variant(backbone)}{stem}, nothing was loaded. Keys {found}. '
                     'What a file fits is said by: tools/model_converters/convert_checkpoint.py --inspect FILE')


def _variant(backbone):
    return getattr(backbone, 'variant', type(backbone).__name__)


def _abridged(keys, most=12):
    return ', '.join(keys[:most]) + (f', and {len(keys) - most} more' if len(keys) > most else '')


def _caveat(layout):
    if not layout.startswith('maskrcnn-benchmark'):
        return ''
    return ('. Its FrozenBatchNorm adds no eps to the variance, ours does: outputs differ slightly. By default it has '
            "the stride on the 1x1 convolutions: then this backbone needs style='caffe'")
