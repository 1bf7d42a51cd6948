"""Loading weights into a backbone: every published layout of keys is recognised, and nothing is loaded by half."""
from __future__ import annotations

import logging
import re
from collections import Counter

from mmengine.logging import print_log
from torch import Tensor, nn

from ..utils.errors import CheckpointError
from .input_channels import adapt_weight
from .layouts import CLASSIFIER, DEAD_PROJECTION, PADDLE, adopt
from .misfit import check_complete, find_other_channels, variant_name
from .paddle_layout import FUNCTION, is_paddle, own_classifier
from .weights import Weights, find_mark

WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'state_dict_ema', 'ema_state_dict', 'model_ema', 'ema')
BACKBONE = re.compile(
    r'^((?:.*\.)?)(?:(?:layer1\.0|layer1\.big\.0|level2\.tree1)\.conv1|bb_0_0\.conv0\._conv)\.weight$')


def adapt_state_dict(backbone: nn.Module,
                     state_dict: dict[str, Tensor],
                     prefix: str = '',
                     strict: bool = True,
                     adapt_in_channels: bool = False) -> None:
    """Give a checkpoint's weights the names of a backbone, and raise an error if they do not fit it.

    What was recognised goes to mmengine's current log.

    Args:
        backbone (nn.Module): Where the weights are going. Of its attributes, ``variant`` names it in messages, and
            ``unneeded`` (() if there is none) says how the keys start that it leaves in a whole checkpoint.
        state_dict (dict[str, Tensor]): The checkpoint's weights; changed in place.
        prefix (str): Where the backbone's keys start in ``state_dict``. Under the prefix '' a checkpoint of a whole
            model, and what frameworks wrap around the weights, are recognised too. Defaults to ''.
        strict (bool): Whether all must fit. If not, weights are only renamed, and what the backbone has no place for
            stays in ``state_dict``. Defaults to True.
        adapt_in_channels (bool): Whether weights for images of another number of channels are adapted to the
            backbone's, see ``adapt_weight``. Defaults to False.

    Raises:
        ValueError: If ``strict``, and a weight of the backbone is missing, has another shape, or is left over.
            Classifier heads, and what is ``unneeded``, may be left over. If the channels of the image cannot be
            adapted.
    """
    stored = {key[len(prefix):]: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
    wrapper = ''
    if not prefix:
        stored, wrapper = unwrap(stored)
    published = find_mark(stored.values())
    inner = find_prefix(stored)
    others = {key: value for key, value in stored.items() if not key.startswith(inner)}
    stored = {key[len(inner):]: value for key, value in stored.items() if key.startswith(inner)}
    layout, stored = adopt(stored)

    expected = backbone.state_dict()
    adapted = _adapt_first_convolution(backbone, expected, stored) if adapt_in_channels else ''

    unused = Counter(key.split('.')[0] for key in others)
    if strict:
        unneeded = getattr(backbone, 'unneeded', ())
        for key in list(stored):
            if key not in expected and (CLASSIFIER.match(key) or DEAD_PROJECTION.match(key)
                                        or key.startswith(unneeded)):
                unused[key.split('.')[0]] += 1
                del stored[key]
        check_complete(backbone, expected, stored, prefix)
    else:
        stored = {**others, **stored}
    state_dict.update({prefix + key: value for key, value in stored.items()})

    where = [f"in '{wrapper}'"] if wrapper else []
    where += [f"under '{prefix}{inner}'"] if prefix + inner else []
    parts = [f'{name} ({count})' for name, count in unused.items()]
    print_log(f'{variant_name(backbone)}: recognised the weights as {layout}' + ''.join(f', {part}' for part in where)
              + (f'; not needed: {", ".join(parts)}' if parts else '') + adapted + _caveat(layout), logger='current')
    _warn_of_another_function(backbone, layout, published)


def adapt_classifier(state_dict: dict[str, Tensor]) -> None:
    """Give the weights of a public ImageNet model the names of mmpretrain's ImageClassifier.

    These are ``backbone.*`` and ``head.fc.*``; a checkpoint that has them already is left alone. The names inside the
    backbone are adapted when that is loaded.

    Args:
        state_dict (dict[str, Tensor]): The checkpoint's weights; changed in place.
    """
    if any(key.startswith('backbone.') for key in state_dict):
        return
    weights, _ = unwrap(state_dict)
    weights = own_classifier(weights) if is_paddle(weights) else weights
    state_dict.clear()
    for key, value in weights.items():
        if key.startswith('fc.'):
            state_dict[f'head.{key}'] = value.flatten(1) if value.dim() > 1 else value  # DLA's is a 1x1 convolution
        else:
            state_dict[f'backbone.{key}'] = value


def unwrap(checkpoint: dict) -> tuple[dict[str, Tensor], str]:
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
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    parallel = {key[len('module.'):]: value for key, value in weights.items() if key.startswith('module.')}
    if parallel and len(parallel) >= len(weights) - 1:  # mmengine counts the 'steps' of an average beside it
        names.append('module')
        weights = parallel
    return weights, '.'.join(names)


def find_prefix(state: dict[str, Tensor]) -> str:
    """Find what stands before the keys of the backbone in a state dict, such as 'backbone.'; '' if nothing does.

    Raises:
        ValueError: If there is more than one backbone, and none of them is ``backbone``.
    """
    prefixes = [match[1] for match in map(BACKBONE.match, state) if match]
    for usual in ('', 'backbone.'):
        if usual in prefixes:
            return usual
    if len(prefixes) > 1:
        raise CheckpointError(f'The checkpoint holds {len(prefixes)} backbones, {", ".join(prefixes)}; name one: '
                         f"init_cfg=dict(type='Pretrained', checkpoint=..., prefix='{prefixes[0]}')")
    return prefixes[0] if prefixes else ''


def _adapt_first_convolution(backbone: nn.Module, expected: dict[str, Tensor], stored: dict[str, Tensor]) -> str:
    """Adapt the weight that sees the image, in place, and say so for the log; '' if it fits."""
    key = find_other_channels(expected, stored)
    if key is None:
        return ''
    channels, wanted = stored[key].shape[1], expected[key].shape[1]
    try:
        stored[key] = adapt_weight(stored[key], wanted)
    except CheckpointError as error:
        raise CheckpointError(
            f'The checkpoint does not fit {variant_name(backbone)}, nothing was loaded: {key}: {error}') from None
    return f'; {key} adapted from images of {channels} channels to {wanted}'


def _caveat(layout: str) -> str:
    if not layout.startswith('maskrcnn-benchmark'):
        return ''
    return ('. Its FrozenBatchNorm adds no eps to the variance, ours does: outputs differ slightly. By default it has '
            "the stride on the 1x1 convolutions: then this backbone needs style='caffe'")


def _warn_of_another_function(backbone: nn.Module, layout: str, published: Weights | None) -> None:
    """Warn if a backbone computes another function than the weights were trained as, where that is known."""
    if published is None and layout != PADDLE:
        return
    weights = f'res2net_mm://{published.name}: these weights' if published else "PaddleClas's weights"
    function = published.stage_pool if published else FUNCTION
    computed = getattr(backbone, 'stage_pool', function)  # a trunk without a choice computes what they need
    if computed != function:
        print_log(
            f"{weights} were trained as stage_pool='{function}', and this {variant_name(backbone)} computes "
            f"stage_pool='{computed}': its features are not those that they were trained for. Set "
            f"stage_pool='{function}' in the config of the backbone, unless the model is to be trained on as it is",
            logger='current', level=logging.WARNING)
