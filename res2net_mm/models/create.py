"""``res2net_mm.create``: a backbone by its name for plain PyTorch, without configs and toolboxes."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from ..checkpoints.input_channels import OPTION
from ..checkpoints.weights import SCHEME, Weights
from ..registry import MODELS
from ..utils.errors import CheckpointError
from ..utils.text import did_you_mean
from .backbones.base import Backbone
from .names import resolve
from .pretrained import find_weights
from .public_weights import WEIGHTS


def create(name: str,
           pretrained: bool | str | Path = False,
           out_indices: Sequence[int | str] | None = None,
           **arguments: Any) -> Backbone:
    """Create a backbone that returns the feature maps of its stages.

    Where the weights, by ``name`` or by ``pretrained``, are public, the function of the stage blocks is the one that
    they were trained as, unless ``stage_pool`` is among the arguments.

    Args:
        name (str): An architecture of ``models/names.py``, an alias of one, or the name of public weights, which stands
            for their architecture. Case, hyphens and underscores do not matter.
        pretrained (bool | str | Path): True loads the public weights of ``name``. A text without a dot and a slash is
            the name of other weights of the same architecture; any other is the path or the address of a checkpoint,
            of the backbone or of a model around it. False, the default, draws random weights as ``init_cfg`` says.
        out_indices (Sequence[int | str] | None): Stages whose outputs are returned, from 0; 'stem' for the feature map
            before them, where the backbone has it. Defaults to None, all stages.
        **arguments: More arguments of the backbone's class, such as ``in_channels``, ``strides``, ``dilations``,
            ``frozen_stages`` and ``norm_eval``. Pretrained weights are adapted to ``in_channels`` as timm does.

    Returns:
        Backbone: In training mode, as from ``timm.create_model``. It takes images (n, in_channels, h, w) to a tuple of
        feature maps; ``out_channels`` and ``out_strides`` say of each its channels and its stride.

    Raises:
        ValueError: If there is no such architecture or no such weights, the weights are of another architecture or do
            not fit, or an argument is out of its range.
        TypeError: If the backbone has no such argument; the message names those that are near.
        FileNotFoundError: If the weights could not be had.

    Example:
        >>> import torch, res2net_mm
        >>> encoder = res2net_mm.create('res2net50_v1b_26w4s', out_indices=(1, 2, 3))
        >>> encoder.out_channels, encoder.out_strides
        ((512, 1024, 2048), (8, 16, 32))
        >>> [tuple(feature.shape) for feature in encoder(torch.rand(1, 3, 64, 64))]
        [(1, 512, 8, 8), (1, 1024, 4, 4), (1, 2048, 2, 2)]
    """
    if not isinstance(pretrained, (bool, str, Path)):
        raise TypeError(f'create: pretrained={pretrained!r} must be True, False, the name of weights, or the path of a '
                        'file')
    if 'arch' in arguments:
        raise TypeError(f"create: no argument arch={arguments['arch']!r}: the first argument is the architecture")
    for key, value in arguments.items():
        meant = did_you_mean(key, ['pretrained'], cutoff=0.75)  # the backbones do not know this one
        if meant:
            raise TypeError(f'create: no argument {key}={value!r}: {meant}')
    if pretrained and 'init_cfg' in arguments:
        raise TypeError('create: pretrained and init_cfg both say where the weights come from; give one of them')
    weights = find_public(name) if isinstance(name, str) else None
    architecture = resolve(weights.architecture if weights else name)
    if pretrained:
        checkpoint = checkpoint_of(name, pretrained)
        if pretrained is not True:
            weights = find_public(str(pretrained)) or weights
        if weights and resolve(weights.architecture).config != architecture.config:
            raise CheckpointError(f"create: pretrained='{pretrained}' is of {weights.architecture}, and '{name}' is "
                                  f'{architecture.name}, another architecture')
        arguments['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint, **{OPTION: 'in_channels' in arguments})
    if weights and weights.stage_pool != 'always':  # which every backbone does by itself
        arguments.setdefault('stage_pool', weights.stage_pool)
    if out_indices is not None:
        arguments['out_indices'] = out_indices
    backbone = MODELS.get(architecture.type)(**{**architecture.arguments, **arguments})
    backbone.init_weights()
    return backbone.train()


def checkpoint_of(name: str, pretrained: bool | str | Path) -> str:
    """What ``init_cfg`` loads for ``create(name, pretrained)``: the name of public weights, a path or an address."""
    if pretrained is True:
        return SCHEME + name
    is_name = isinstance(pretrained, str) and not set('./\\') & set(pretrained)
    return f'{SCHEME}{pretrained}' if is_name else str(pretrained)


def find_public(source: str) -> Weights | None:
    """Find public weights by their name, their architecture's, or the name of their file; None if there are none.

    Args:
        source (str): The name, or the path or the address of a file.
    """
    for weights in WEIGHTS:
        if Path(source).name in [file.name for file in weights.files]:
            return weights
    try:
        return find_weights(source)
    except ValueError:
        return None
