"""Mixed precision that suits detectors and pose estimators."""
from __future__ import annotations

import copy
from functools import lru_cache
from types import new_class
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models.layers.arguments import checked
from ...models.parts import backbone_and_neck
from ...registry import HOOKS
from ...utils.errors import UserError


@HOOKS.register_module()
class BFloat16Features(Hook):
    """Train with the backbone and the neck in bfloat16, and what follows them in float32.

    Whole-model autocast does not suit detectors: mmdet makes anchors in the type of the features, and bfloat16 has 8
    bits for a coordinate, steps of 4 pixels at 1000; mmcv's RoIAlign and NMS do not know the type at all, nor does
    NumPy, which mmpose's heads give their heatmaps to in training. Evaluation stays in float32.

    Raises:
        UserError: If the model has no backbone, so that nothing would compute in bfloat16.
    """

    @checked({})
    def __init__(self) -> None:
        super().__init__()

    def before_train(self, runner: Runner) -> None:
        """Have backbone and neck compute in bfloat16."""
        modules = backbone_and_neck(runner.model)
        if not modules:
            raise UserError(f'BFloat16Features: {type(runner.model).__name__} has neither a backbone nor a neck')
        for module in modules:
            compute_in_bfloat16(module)

    def after_train(self, runner: Runner) -> None:
        """Have backbone and neck compute as before."""
        for module in backbone_and_neck(runner.model):
            compute_as_before(module)


def compute_in_bfloat16(module: nn.Module) -> None:
    """Have a module compute in bfloat16 under autocast when it is training, and return float32.

    Its class is replaced by a subclass, and nothing is kept in the module: a copy runs its own weights, also one made
    by pickle. A second call changes nothing.

    Args:
        module (nn.Module): The module, changed in place.

    Raises:
        ValueError: If another ``forward`` was put into the module, which would hide that of any class.
    """
    if 'forward' in vars(module):
        raise ValueError(f'{type(module).__name__} cannot be made to compute in bfloat16: its forward was replaced')
    if not isinstance(module, InBFloat16):
        plain_class: Any = type(module)
        module.__class__ = in_bfloat16(plain_class)


def compute_as_before(module: nn.Module) -> None:
    """Undo ``compute_in_bfloat16``; any other module is left as it is."""
    if isinstance(module, InBFloat16):
        module.__class__ = module.plain_class


class InBFloat16(nn.Module):
    """What ``in_bfloat16`` puts before the class of a module.

    Attributes:
        plain_class (type): The class of the module.
    """

    plain_class: type

    def forward(self, *inputs: Any, **named_inputs: Any) -> Any:
        """Run the module's own forward, in training under autocast, and then return float32.

        A module without parameters has nothing to compute in bfloat16.
        """
        parameter = next(self.parameters(), None)
        if not self.training or parameter is None:
            return super().forward(*inputs, **named_inputs)
        with torch.autocast(parameter.device.type, dtype=torch.bfloat16):
            outputs = super().forward(*inputs, **named_inputs)
        return to_float32(outputs)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """How pickle and deepcopy make another: a class that is made here cannot be found by its name."""
        _, _, *state = super().__reduce_ex__(protocol)
        return (new_in_bfloat16, (self.plain_class, ), *state)


@lru_cache(maxsize=None)
def in_bfloat16(plain_class: type) -> Any:
    """The subclass of a module's class that trains in bfloat16, under the same name."""
    names = dict(plain_class=plain_class, __module__=plain_class.__module__, __doc__=plain_class.__doc__)
    return new_class(plain_class.__name__, (InBFloat16, plain_class), exec_body=lambda body: body.update(names))


def new_in_bfloat16(plain_class: type) -> nn.Module:
    """A module of ``in_bfloat16(plain_class)`` that is still empty."""
    kind = in_bfloat16(plain_class)
    return kind.__new__(kind)


def to_float32(outputs: Any) -> Any:
    """Half-precision tensors as float32, also inside tuples, lists and dicts; anything else as it is."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
    if isinstance(outputs, dict):
        converted = copy.copy(outputs)
        converted.update({name: to_float32(value) for name, value in outputs.items()})
        return converted
    if isinstance(outputs, (tuple, list)):
        values = [to_float32(value) for value in outputs]
        return type(outputs)(*values) if hasattr(outputs, '_fields') else type(outputs)(values)
    return outputs
