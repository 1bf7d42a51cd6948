"""Training steps that are faster and need less memory, with the same outputs and gradients.

For its backward pass PyTorch keeps what goes into every convolution, batch norm and ReLU, and copies that splits,
additions and concatenations make. :class:`TrainingBlock` runs a block through :class:`FusedBlock`, which keeps less.
"""
from __future__ import annotations

import math
import warnings
from typing import Any, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm2d

from ...models.backbones.base import Backbone
from ...models.heads.res2_shared_head import Res2SharedHead
from ...models.layers.bottle2neck import Bottle2neck
from .autograd import ChannelsLast, FusedBlock, Origin
from .norm_kernels import kernels

MOST_STEPS = 5  # from a tensor that is kept to one that is made from it again


def accelerate_training(model: nn.Module) -> nn.Module:
    """Make the training of a model faster, and smaller in memory.

    On a CPU every Res2Net (or ResNet) block that is made of convolutions and batch norms computes its forward and its
    backward pass in one piece. Outputs, gradients, running statistics, parameters and their names stay what they were,
    up to rounding. Blocks with other layers (deformable convolutions, plugins, squeeze-and-excitation, other norms) and
    steps in other types than float32 and float64 run as before; so does everything, with a warning, where the kernels
    cannot be compiled. On a GPU ``torch.compile`` takes the blocks, one by one.

    Args:
        model (nn.Module): One of our backbones, or a model with some in it, where it will be trained.

    Returns:
        nn.Module: The model itself.

    Raises:
        ValueError: If there is no such block in the model.
    """
    if any(isinstance(module, TrainingBlock) for module in model.modules()):
        return model  # it is already
    blocks = [module for module in model.modules() if type(module) is Bottle2neck]
    on_gpu = any(parameter.is_cuda for block in blocks for parameter in block.parameters())
    blocks = blocks if on_gpu else list(filter(can_be_fused, blocks))
    if not blocks:
        raise ValueError(f'accelerate_training: {type(model).__name__} has no block of convolutions and batch norms')
    if on_gpu:
        compile_blocks(blocks)
        return model
    try:
        kernels()
    except (RuntimeError, OSError) as error:
        warnings.warn(f'accelerate_training changes nothing, its kernels cannot be compiled: {error}', stacklevel=2)
        return model
    for block in blocks:
        block.__class__ = TrainingBlock  # the layers, their names and hooks stay; only how they are run differs
    for module in model.modules():
        if isinstance(module, (Backbone, Res2SharedHead)):
            module.register_forward_hook(contiguous_outputs)
        elif type(module) is Bottle2neck:
            module.register_forward_pre_hook(contiguous_input)
    return model


def compile_blocks(blocks: Iterable[Bottle2neck], **options: Any) -> None:
    """Have ``torch.compile`` take block by block.

    Blocks are alike, while a whole detector changes with every image size.

    Args:
        blocks (Iterable[Bottle2neck]): The blocks.
        **options: Arguments of ``torch.compile``.
    """
    allow_many_compilations()
    for block in blocks:
        block.compile(**options)


def allow_many_compilations() -> None:
    """Lift PyTorch's limit of compilations.

    It compiles eight modules of one class, and quietly runs the ninth layer by layer.
    """
    torch._dynamo.config.cache_size_limit = torch._dynamo.config.accumulated_cache_size_limit = 1000


def convs_and_norms(block: Bottle2neck) -> tuple[list[nn.Module], list[nn.Module]]:
    """The convolutions of a block and their norms: 1×1, all 3×3, last 1×1, and the shortcut's, if any."""
    convs, norms = [block.conv1, *block.convs, block.conv3], [block.bn1, *block.bns, block.bn3]
    if block.downsample is not None and len(block.downsample) > 1:
        convs.append(block.downsample[-2])
        norms.append(block.downsample[-1])
    return convs, norms


def can_be_fused(block: Bottle2neck) -> bool:
    """Whether a block is made of layers that FusedBlock knows."""
    convs, norms = convs_and_norms(block)
    return (all(type(conv) is nn.Conv2d and conv.bias is None and conv.padding_mode == 'zeros' for conv in convs)
            and all(type(norm) is BatchNorm2d and norm.affine for norm in norms)
            and isinstance(block.se, nn.Identity) and not any(block.plugins.values()))


def contiguous_input(block: Bottle2neck, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A hook that makes the input of a block with other layers contiguous.

    The TrainingBlock before it keeps the channels of a pixel together, and mmcv's deformable convolutions, on a CPU,
    read every tensor as if it were contiguous.
    """
    return inputs[0].contiguous(), *inputs[1:]


def contiguous_outputs(backbone: nn.Module, inputs: tuple[Tensor, ...],
                       outputs: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """A hook that makes a backbone's outputs contiguous, as mmcv's RoIAlign needs them."""
    return outputs.contiguous() if isinstance(outputs, Tensor) else tuple(out.contiguous() for out in outputs)


class TrainingBlock(Bottle2neck):
    """A Bottle2neck that trains through FusedBlock.

    It is not built: ``accelerate_training`` changes the class of a block.
    """

    def _forward(self, x: Tensor, identity: Tensor | None) -> Tensor:
        if not self._can_fuse(x):
            return super()._forward(x, identity)
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = ChannelsLast.apply(x)
        convs, norms = convs_and_norms(self)
        if identity is None and self.downsample is not None and len(self.downsample) == 1:
            identity = self.downsample(x)  # pools only
        if identity is not None:  # what it is made of is not this block's to run
            convs, norms = convs[:len(self.convs) + 2], norms[:len(self.convs) + 2]
        parameters = [parameter for conv, norm in zip(convs, norms)
                      for parameter in (conv.weight, norm.weight, norm.bias)]
        origins = [self._find_origin(x)]
        out = FusedBlock.apply(self, convs, norms, origins, x, identity, *parameters)
        if out.requires_grad and not self.with_cp:  # or this would keep what nothing else does
            out.origin = origins[-1], out._version
        return out

    def _can_fuse(self, x: Tensor) -> bool:
        stride = self.conv1.stride[0] * self.convs[0].stride[0]
        pixels = len(x) * math.ceil(x.shape[2] / stride) * math.ceil(x.shape[3] / stride)
        return (torch.is_grad_enabled() and x.device.type == 'cpu' and not is_cpu_autocast_on()
                and x.dtype in (torch.float32, torch.float64) and x.dtype == self.conv1.weight.dtype
                and pixels > 1)  # PyTorch has something to say about the statistics of one

    def _find_origin(self, x: Tensor) -> Origin:
        origin, version = getattr(x, 'origin', (None, None))
        if self.with_cp or origin is None or version != x._version or len(origin.steps) > MOST_STEPS:
            return Origin(x)
        return origin


def is_cpu_autocast_on() -> bool:
    """Whether autocast is on for the CPU; PyTorch 2.4 gave the question another name."""
    try:
        return torch.is_autocast_enabled('cpu')
    except TypeError:
        return torch.is_autocast_cpu_enabled()
