"""Loading weights into a Res2Net: every published key layout is recognised, and nothing is loaded by half.

The backbone's own keys are ``layer{1..4}.{b}.conv1|bn1|convs.{i}|bns.{i}|conv3|bn3|downsample.{j}``, which all public
Res2Nets share, and ``conv1|bn1`` (v1) or ``stem.{0..8}`` (v1b, as mmdet names it) for the stem.
"""
import re

# How others name the deep stem: layer by layer, ours on the right.
DEEP_STEMS = {
    'official v1b or timm': {
        'conv1.0.': 'stem.0.', 'conv1.1.': 'stem.1.', 'conv1.3.': 'stem.3.', 'conv1.4.': 'stem.4.',
        'conv1.6.': 'stem.6.', 'bn1.': 'stem.7.'
    },
    'mmpretrain': {
        'stem.0.conv.': 'stem.0.', 'stem.0.bn.': 'stem.1.', 'stem.1.conv.': 'stem.3.', 'stem.1.bn.': 'stem.4.',
        'stem.2.conv.': 'stem.6.', 'stem.2.bn.': 'stem.7.'
    },
}
CLASSIFIER = re.compile(r'^(fc|head|neck)\.')


def adapt_state_dict(backbone, state_dict, prefix=''):
    """Give a checkpoint's weights this backbone's names, or say what does not fit.

    Args:
        backbone (Res2Net): Where the weights are going.
        state_dict (dict[str, Tensor]): The checkpoint's weights; changed in place.
        prefix (str): Where the backbone's keys start in ``state_dict``. A checkpoint of a whole model is also
            recognised under the prefix ''. Defaults to ''.

    Raises:
        ValueError: If a weight of the backbone is missing, has another shape, or is left over. Classifier heads, and
            stages beyond ``num_stages``, may be left over.
    """
    if not prefix and any(key.startswith('backbone.') for key in state_dict):
        whole_model = {key: state_dict.pop(key) for key in list(state_dict)}
        state_dict.update({key[len('backbone.'):]: value for key, value in whole_model.items()
                           if key.startswith('backbone.')})

    stored = {key[len(prefix):]: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
    for renames in DEEP_STEMS.values():
        if any(key.startswith(next(iter(renames))) for key in stored):
            stored = {_rename(key, renames): value for key, value in stored.items()}

    later_stages = tuple(f'layer{i}.' for i in range(backbone.num_stages + 1, 5))
    stored = {key: value for key, value in stored.items()
              if not CLASSIFIER.match(key) and not key.startswith(later_stages)}
    _check_complete(backbone, stored, prefix)
    state_dict.update({prefix + key: value for key, value in stored.items()})


def _rename(key, renames):
    for old, new in renames.items():
        if key.startswith(old):
            return new + key[len(old):]
    return key


def _check_complete(backbone, stored, prefix):
    expected = backbone.state_dict()
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
            f"No weight of the checkpoint starts with '{prefix}': the {backbone.variant} backbone would stay random. "
            "An ImageNet checkpoint belongs in the backbone's init_cfg=dict(type='Pretrained', checkpoint=...).")
    found = '; '.join(f'{len(keys)} {what}: {_abridged(keys)}' for what, keys in problems.items() if keys)
    raise ValueError(f'The checkpoint does not fit {backbone.variant} '
                     f'({"deep stem" if backbone.deep_stem else "7x7 stem"}), nothing was loaded. Keys {found}')


def _abridged(keys, most=12):
    return ', '.join(keys[:most]) + (f', and {len(keys) - most} more' if len(keys) > most else '')
