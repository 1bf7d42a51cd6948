"""Training steps that are faster and need less memory, with the same outputs and gradients.

For its backward pass PyTorch keeps what goes into every convolution, batch norm and ReLU, and copies that splits,
additions and concatenations make. :class:`FusedExecutor` runs blocks through :class:`FusedBlock`, which keeps less.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...models.backbones.base import Backbone
from ...models.heads.res2_shared_head import Res2SharedHead
from ...models.layers.bottle2neck import Bottle2neck
from ..eager import is_eager
from .compilation import WithoutLimit, compile_blocks
from .executor import FusedExecutor
from .kernels import has_kernels
from .plan import can_be_fused
from .stem import run_stem


def accelerate_training(model: nn.Module) -> nn.Module:
    """Make the training of a model faster, and smaller in memory.

    On a CPU every Res2Net (or ResNet) block that is made of convolutions and batch norms, and a Res2Net's stem with its
    pooling, compute their forward and their backward pass in one piece. Outputs, gradients, running statistics,
    parameters and their names stay what they were, up to rounding, and a backbone's outputs are in the layout of its
    input. A call runs layer by layer, as before,

    * of a block, or a stem, with other layers: deformable convolutions, plugins, squeeze-and-excitation, other norms,
      layers that were replaced or parametrized later, or layers with hooks;
    * in other types than float32 and float64, under autocast, without gradients, or on another device;
    * while something traces or transforms it: ``torch.compile``, ``torch.export``, ``torch.jit.trace``, ``torch.func``,
      forward-mode AD, modes that see every operator;
    * of inputs that do not have the sizes of the block; of a stem whose own feature map is asked for;
    * with a warning, where the kernels cannot be compiled.

    What runs in one piece cannot be differentiated twice: the backward pass of a backward pass (``create_graph=True``)
    raises a RuntimeError. On a GPU ``torch.compile`` takes the blocks, one by one.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it, where it will be trained.

    Returns:
        nn.Module: The model itself.

    Raises:
        ValueError: If there is no such block in the model.
    """
    blocks = [module for module in model.modules() if isinstance(module, Bottle2neck)]
    on_gpu = any(parameter.is_cuda for block in blocks for parameter in block.parameters())
    if not (blocks if on_gpu else any(map(can_be_fused, blocks))):
        raise ValueError(f'accelerate_training: {type(model).__name__} has no block of convolutions and batch norms')
    if on_gpu:
        compile_blocks(blocks)
    elif has_kernels():
        remove_training_acceleration(model)
        executor = FusedExecutor()
        for block in blocks:
            block.executor = executor
        for module in model.modules():
            if isinstance(module, (Backbone, Res2SharedHead)):
                module.register_forward_hook(outputs_in_layout_of_input, with_kwargs=True)
            if isinstance(module, Backbone):
                module.stem_executor = run_stem
    return model


def remove_training_acceleration(model: nn.Module) -> nn.Module:
    """Have a model train as it did before ``accelerate_training``.

    Args:
        model (nn.Module): The model; one that is not accelerated is left as it is.

    Returns:
        nn.Module: The model itself.
    """
    for module in model.modules():
        if isinstance(module, Bottle2neck) and isinstance(module.executor, FusedExecutor):
            module.executor = None
        if isinstance(module, Backbone):
            module.stem_executor = None
        if isinstance(getattr(module, '_compiled_call_impl', None), WithoutLimit):
            module._compiled_call_impl = None
        for key, hook in list(module._forward_hooks.items()):
            if hook is outputs_in_layout_of_input:
                del module._forward_hooks[key], module._forward_hooks_with_kwargs[key]
    return model


def outputs_in_layout_of_input(backbone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any],
                               outputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """A hook that brings a backbone's outputs to the layout of its input, as they would be without the executor.

    Its blocks leave channels last, and mmcv's RoIAlign, on a CPU, reads every tensor as if it were contiguous.
    """
    x = next(iter((*args, *kwargs.values())))
    if not is_eager(x):
        return outputs  # its blocks ran layer by layer
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    if isinstance(outputs, Tensor):
        return outputs.contiguous(memory_format=layout)
    return tuple(out.contiguous(memory_format=layout) for out in outputs)
