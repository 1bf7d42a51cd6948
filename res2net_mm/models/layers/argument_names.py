"""Arguments that a class does not have: what to write in place of what other libraries call them."""
from __future__ import annotations

import inspect
from typing import Any, Mapping

from ...utils.text import did_you_mean

# What to write for the arguments that the ResNets of the toolboxes have and our backbones have not; {value} is what was
# given. Whoever changes only the type of a backbone meets these.
PRETRAINED = ("write init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s') instead, or another "
              'name of docs/weights.md; where the model has `pretrained`, which mmseg hands on, remove it')
DETECTORS = 'take out what belongs to DetectoRS of mmdet, whose neck (RFP) and ResNet are made for each other'
TRIDENT = 'take out what belongs to TridentNet of mmdet, whose heads and ResNet are made for each other'
RESNEST = 'take out what belongs to ResNeSt; Res2Net has squeeze-and-excitation (se_reduction=16), no split attention'
REPLACED_OF_BACKBONES = {'pretrained': PRETRAINED}
REPLACED_OF_RES2NET = {
    **REPLACED_OF_BACKBONES,
    'width_per_group': 'write base_width={value} instead',
    'se_ratio': 'write se_reduction={value} instead',
    'cardinality': 'write groups={value} instead',
    'expansion': 'take it out; a stage has 4 times as many channels as planes (base_channels)',
    'drop_path_rate': 'take it out; no block is dropped in training',
    **dict.fromkeys(('radix', 'reduction_factor', 'avg_down_stride'), RESNEST),
    **dict.fromkeys(('sac', 'stage_with_sac', 'output_img', 'rfp_inplanes'), DETECTORS),
    **dict.fromkeys(('num_branch', 'test_branch_idx', 'trident_dilations'), TRIDENT),
}


def bind_arguments(init: inspect.Signature, model: Any, args: tuple, kwargs: Mapping[str, Any],
                   replaced: Mapping[str, str]) -> inspect.BoundArguments:
    """Bind the arguments of a call of an ``__init__``.

    Args:
        init (inspect.Signature): Its signature, with ``self``.
        model (Any): The object that is made; the name of its class stands in messages.
        args (tuple): The positional arguments.
        kwargs (dict): The keyword arguments.
        replaced (dict[str, str]): Names that other libraries have, and what to do instead.

    Returns:
        inspect.BoundArguments: All that were given.

    Raises:
        TypeError: If they do not fit; the message names all that are unknown, and what is meant or replaces them.
    """
    names = list(init.parameters)[1:]
    name = type(model).__name__
    unknown = {key: value for key, value in kwargs.items() if key not in names}
    if unknown:
        message = f'{name}: no argument {describe_unknown(unknown, names, replaced)}'
        if not replaced.keys() >= unknown.keys():
            message += f'{"" if message.endswith("?") else "."} It takes {", ".join(names) or "none"}'
        raise TypeError(message)
    try:
        return init.bind(model, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f'{name}: {error}') from None


def describe_unknown(unknown: Mapping[str, object], names: list[str], replaced: Mapping[str, str]) -> str:
    """Say of unknown arguments what to do, as 'scale=4: did you mean scales?; and no radix=2: ...'.

    Args:
        unknown (dict): What was given, by name.
        names (list[str]): The arguments that there are.
        replaced (dict[str, str]): As for ``bind_arguments``.
    """
    given: dict[str, list[str]] = {}  # by advice, which several may share
    for name, value in unknown.items():
        if name in replaced:
            advice = ': ' + ('take it out' if value is None else replaced[name].format(value=repr(value)))
        else:
            advice = did_you_mean(name, names, form=': {}')
        given.setdefault(advice, []).append(f'{name}={value!r:.100}')
    return '; and no '.join(', '.join(arguments) + advice for advice, arguments in given.items())
