"""What is said of weights that do not fit a backbone: what they are of, which ones differ, and what to do."""
from __future__ import annotations

import re

from torch import Tensor, nn

from ..utils.errors import CheckpointError
from .input_channels import OPTION, find_first_convolution
from .layouts import is_conv

FIRST_BLOCKS = {'layer1.0': 'ResNet', 'level2.tree1': 'DLA'}  # of trunks, and what they are called
BLOCK_START = re.compile(r'^layer\d\.\d+\.conv1\.weight$')
INSPECT = 'What a file fits is said by: tools/model_converters/convert_checkpoint.py --inspect FILE'
PUBLIC = ("A ResNet's weights fit no Res2Net; write checkpoint='res2net_mm://NAME' with a name of docs/weights.md, "
          'such as res2net50_26w4s')


def check_complete(backbone: nn.Module, expected: dict[str, Tensor], stored: dict[str, Tensor], prefix: str) -> None:
    """Check that weights fit a backbone, all of them.

    Args:
        backbone (nn.Module): Where the weights are going.
        expected (dict[str, Tensor]): Its own weights.
        stored (dict[str, Tensor]): The checkpoint's, under the same names.
        prefix (str): Where the backbone's keys start in the checkpoint.

    Raises:
        ValueError: If a weight is missing, left over, or of another shape.
    """
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
        raise CheckpointError(
            f"No weight of the checkpoint starts with '{prefix}': the {variant_name(backbone)} backbone would stay "
            "random. An ImageNet checkpoint belongs in the backbone's init_cfg=dict(type='Pretrained', "
            'checkpoint=...).')
    ours, theirs = describe_weights(expected), describe_weights(stored)
    kind = f' of a {theirs}' if theirs and theirs != ours else ''
    text = '; '.join(f'{len(keys)} {problem}: {_abridged(keys)}' for problem, keys in problems.items() if keys)
    channels_only = sum(map(len, problems.values())) == 1 and find_other_channels(expected, stored)
    advice = (_advise_to_adapt(channels_only, expected, stored) if channels_only
              else PUBLIC if theirs.startswith('ResNe') and ours.startswith('Res2Ne') else INSPECT)
    stem = {True: ' (deep stem)', False: ' (7x7 stem)', None: ''}[getattr(backbone, 'deep_stem', None)]
    raise CheckpointError(f'The checkpoint{kind} does not fit {variant_name(backbone)}{stem}, nothing was loaded. Keys '
                          f'{text}. {advice}')


def describe_weights(state: dict[str, Tensor]) -> str:
    """What ResNet, Res2Net or DLA weights are of, as 'Res2Net-50 26w4s (7x7 stem)'; '' for other trunks.

    Args:
        state (dict[str, Tensor]): Weights of a backbone under our names, of any shapes.
    """
    first = next((block for block in FIRST_BLOCKS if f'{block}.convs.0.weight' in state), '')
    whole, split = state.get(f'{first}.conv1.weight'), state.get(f'{first}.convs.0.weight')
    if not is_conv(whole) or not is_conv(split) or not split.shape[0] or not split.shape[1]:
        return ''
    scales, groups = whole.shape[0] // split.shape[0], split.shape[0] // split.shape[1]
    cardinality = f'{groups}c' if groups > 1 else ''
    width = f' {cardinality}{split.shape[1]}w{scales}s' if scales > 1 else ''
    if FIRST_BLOCKS[first] == 'DLA':
        return f'DLA{width}'
    basic = f'{first}.conv3.weight' not in state
    depth = 2 + (2 if basic else 3) * sum(map(bool, map(BLOCK_START.match, state)))
    name = f'{"ResNe" if scales == 1 else "Res2Ne"}{"Xt" if groups > 1 else "t"}-{depth}'
    return f'{name}{width} ({"deep" if "stem.0.weight" in state else "7x7"} stem)'


def find_other_channels(expected: dict[str, Tensor], stored: dict[str, Tensor]) -> str | None:
    """Find the weight that sees the image, if the channels of the image are all that it differs in.

    Args:
        expected (dict[str, Tensor]): A backbone's own weights.
        stored (dict[str, Tensor]): A checkpoint's.
    """
    key = find_first_convolution(expected)
    if key is None or find_first_convolution(stored) != key:
        return None
    same_kernels = expected[key][:, :1].shape == stored[key][:, :1].shape
    return key if same_kernels and expected[key].shape != stored[key].shape else None


def variant_name(backbone: nn.Module) -> str:
    """How messages call a backbone."""
    return getattr(backbone, 'variant', type(backbone).__name__)


def _advise_to_adapt(key: str, expected: dict[str, Tensor], stored: dict[str, Tensor]) -> str:
    wanted = expected[key].shape[1]
    return (f'The weights are for images of {stored[key].shape[1]} channels, and in_channels={wanted}. To have them '
            f"adapted, write {OPTION}=True in the backbone's init_cfg=dict(type='Pretrained', checkpoint=...), or "
            'convert the file: tools/model_converters/convert_checkpoint.py FILE NEW_FILE --to res2net_mm '
            f'--in-channels {wanted}')


def _abridged(keys: list[str], most: int = 3) -> str:
    return ', '.join(keys[:most]) + (f', and {len(keys) - most} more' if len(keys) > most else '')
