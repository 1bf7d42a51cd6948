"""Mixed precision that suits detectors."""
from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from ...models.parts import backbone_and_neck
from ...registry import HOOKS


@HOOKS.register_module()
class BFloat16Features(Hook):
    """Train with the backbone and the neck in bfloat16, and what follows them in float32.

    Whole-model autocast does not suit detectors: mmdet makes anchors in the type of the features, and bfloat16 has 8
    bits for a coordinate, steps of 4 pixels at 1000; mmcv's RoIAlign and NMS do not know the type at all. Evaluation
    stays in float32.
    """

    def before_train(self, runner: Runner) -> None:
        """Replace the forwards of backbone and neck."""
        for module in backbone_and_neck(runner.model):
            compute_in_bfloat16(module)

    def after_train(self, runner: Runner) -> None:
        """Put the forwards of backbone and neck back."""
        for module in backbone_and_neck(runner.model):
            del module.forward


def compute_in_bfloat16(module: nn.Module) -> None:
    """Have a module compute in bfloat16 under autocast when it is training, and return float32.

    Args:
        module (nn.Module): One that returns a sequence of tensors; its ``forward`` is replaced on the instance.
    """
    forward = module.forward
    device = next(module.parameters()).device.type

    def forward_in_bfloat16(*inputs: Tensor) -> tuple[Tensor, ...]:
        if not module.training:
            return forward(*inputs)
        with torch.autocast(device, dtype=torch.bfloat16):
            outs = forward(*inputs)
        return tuple(out.float() for out in outs)

    module.forward = forward_in_bfloat16
