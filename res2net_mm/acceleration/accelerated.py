"""What ``accelerate`` puts in the place of a backbone."""
from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from .eager import is_eager
from .fused_conv import NotFiniteError, has_finite_sum, operators_alone

HOOKS = [name for name in vars(nn.Module()) if 'hook' in name and 'state_dict' not in name]  # those of calls


class AcceleratedBackbone(nn.Module):
    """A backbone that another module runs for it, with the attributes that toolboxes ask of the original.

    These are its public attributes and properties, ``out_channels``, ``out_strides``, ``out_indices`` and so on, as
    they were. Unless another library runs it, ``stages`` are the layers of every stage, which cannot be called by
    themselves. Hooks of the original are called.

    Args:
        backbone (nn.Module): The original; of its layers nothing is kept.
        runner (nn.Module): What computes the same.
        report (str): What was done to the layers, and what was left as it was.
    """

    def __init__(self, backbone: nn.Module, runner: nn.Module, report: str) -> None:
        super().__init__()
        for name, value in public_attributes(backbone).items():
            setattr(self, name, value)
        self.report = report
        self.runner = runner
        stages = getattr(backbone, 'stages', [])
        self._stage_names = [name for name, module in backbone.named_modules() if any(module is s for s in stages)]
        for name in HOOKS:
            setattr(self, name, copy.copy(getattr(backbone, name)))
        self.eval()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the backbone; what goes in and what comes out is as the original has it."""
        try:
            if is_eager(x) and x.device.type == 'cpu' and not has_finite_sum(x):
                raise NotFiniteError('the images are not finite')
            return self.runner(x)
        except NotFiniteError:
            with operators_alone():
                return self.runner(x)

    @property
    def stages(self) -> list[nn.Module]:
        """The layers of every stage, first to last."""
        return [self.runner.get_submodule(name) for name in self._stage_names]

    def extra_repr(self) -> str:
        return self.report


def public_attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes and properties that a module has beyond any module, and that hold no layers and no tensors."""
    names = {*vars(module), *dir(type(module))} - {*vars(nn.Module()), *dir(nn.Module)}
    found = {}
    for name in sorted(name for name in names if not name.startswith('_')):
        try:
            value = getattr(module, name)
        except (AttributeError, NotImplementedError):  # what a subclass has not filled in
            continue
        if not callable(value) and not holds_layers(value):
            found[name] = copy.deepcopy(value)
    return found


def holds_layers(value: Any) -> bool:
    """Whether there are layers or tensors in a value, or in a collection."""
    if isinstance(value, dict):
        return any(map(holds_layers, value.values()))
    return isinstance(value, (nn.Module, Tensor)) or isinstance(value, (list, tuple, set)) and any(
        map(holds_layers, value))
