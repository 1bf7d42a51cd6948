"""Which blocks, and which of their calls, :class:`FusedBlock` computes, and the layers as it knows them."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import BatchNorm2d

from ...models.layers.bottle2neck import Bottle2neck
from ..eager import has_hooks, is_cpu_autocast_on, is_eager
from ..graph import is_ours
from .layers import AveragePool, Convolution
from .norm_kernels import batch_norm_tensors


@dataclass(frozen=True)
class Plan:
    """What a block computes, beside its weights.

    Attributes:
        width (int): Channels of a split.
        scales (int): Number of splits.
        adds (bool): Whether the output of a 3×3 convolution is added to the input of the next.
        last_relu (bool): Whether a ReLU follows the last addition.
        pool (AveragePool | None): What the split that no convolution takes goes through.
        convs (tuple[Convolution, ...]): The first 1×1, all 3×3, the last 1×1, and the shortcut's, if any.
        shortcut_pool (AveragePool | None): What goes before the shortcut's convolution, or is all of the shortcut.
        has_shortcut (bool): Whether there is a shortcut with a convolution.
    """

    width: int
    scales: int
    adds: bool
    last_relu: bool
    pool: AveragePool | None
    convs: tuple[Convolution, ...]
    shortcut_pool: AveragePool | None
    has_shortcut: bool

    @property
    def last(self) -> int:
        """The index of the last 1×1 convolution."""
        return len(self.convs) - 1 - self.has_shortcut


def convs_and_norms(block: Bottle2neck, shortcut: bool = True) -> tuple[list[nn.Module], list[nn.Module]]:
    """The convolutions of a block and their norms: 1×1, all 3×3, last 1×1, and the shortcut's, if any and asked for."""
    convs, norms = [block.conv1, *block.convs, block.conv3], [block.bn1, *block.bns, block.bn3]
    if shortcut and block.downsample is not None and len(block.downsample) > 1:
        convs.append(block.downsample[-2])
        norms.append(block.downsample[-1])
    return convs, norms


def parameters_of(convs: Iterable[nn.Module], norms: Iterable[nn.Module]) -> list[Tensor]:
    """Of every convolution, in order: its weight and its norm's weight and bias."""
    return [parameter for conv, norm in zip(convs, norms) for parameter in (conv.weight, norm.weight, norm.bias)]


def make_plan(block: Bottle2neck, shortcut: bool) -> Plan:
    """The plan of a block that can be fused; without its shortcut, if that is computed elsewhere."""
    convs, _ = convs_and_norms(block, shortcut)
    pools = [block.pool if block.scales > 1 else None, block.downsample[0] if shortcut and block.downsample else None]
    pool, shortcut_pool = (AveragePool.of(layer) if isinstance(layer, nn.AvgPool2d) else None for layer in pools)
    return Plan(block.width, block.scales, not block.stage_block, block.last_relu, pool,
                tuple(map(Convolution.of, convs)), shortcut_pool, len(convs) > len(block.convs) + 2)


# What a block is made of.


def can_be_fused(block: Bottle2neck) -> bool:
    """Whether a block is made of nothing but layers that FusedBlock knows, as they were built.

    A layer that was replaced, parametrized (``torch.nn.utils.parametrize`` gives it another class) or given a
    ``forward`` of its own is not known, nor is a subclass of the block with other methods.
    """
    return (is_ours(block) and is_shortcut_known(block.downsample)
            and type(block.relu) is nn.ReLU and type(block.se) is nn.Identity
            and (type(block.pool) is nn.Identity or is_known_pool(block.pool))
            and len(block.convs) == len(block.bns) == max(block.scales - 1, 1) and not any(block.plugins.values())
            and all(map(are_known, *convs_and_norms(block)))
            and not any('forward' in vars(module) for module in block.modules()))


def is_shortcut_known(shortcut: nn.Module | None) -> bool:
    """Whether a shortcut is one of ``make_shortcut``, or a pooling alone."""
    if shortcut is None:
        return True
    if type(shortcut) is not nn.Sequential or not 1 <= len(shortcut) <= 3:
        return False
    return len(shortcut) == 2 or is_known_pool(shortcut[0])


def is_known_pool(pool: nn.Module) -> bool:
    """Whether a layer is an average pooling that divides by what it adds."""
    return type(pool) is nn.AvgPool2d and pool.divisor_override is None


def are_known(conv: nn.Module, norm: nn.Module) -> bool:
    """Whether two layers are a convolution without a bias and a batch norm with weights."""
    return (type(conv) is nn.Conv2d and conv.bias is None and conv.padding_mode == 'zeros'
            and not isinstance(conv.padding, str) and type(norm) is BatchNorm2d and norm.affine
            and (norm.running_mean is None) == (norm.running_var is None))


# What a block is called with.


def call_can_be_fused(block: Bottle2neck, x: Tensor, identity: Tensor | None) -> bool:
    """Whether FusedBlock computes what the layers of a block that can be fused do for these inputs.

    If not, the layers do: call their hooks, broadcast, cast, or say what is wrong.
    """
    modules = [module for module in block.modules() if module is not block]
    return (kernels_can_run(*convs_and_norms(block, identity is None), modules, x, identity)
            and channels_fit(block, x, identity) and sizes_fit(block, x, identity))


def kernels_can_run(convs: Sequence[nn.Module], norms: Sequence[nn.Module], modules: Iterable[nn.Module],
                    *inputs: Tensor | None) -> bool:
    """Whether nobody could tell that the kernels stand for some layers in a call, and the kernels know the types.

    Args:
        convs (Sequence[nn.Module]): The convolutions.
        norms (Sequence[nn.Module]): Their norms.
        modules (Iterable[nn.Module]): All that the call would run; none may have hooks.
        *inputs (Tensor | None): What goes in; None is left out.
    """
    given = [tensor for tensor in inputs if tensor is not None]
    tensors = [*given, *(conv.weight for conv in convs),
               *(tensor for norm in norms for tensor in batch_norm_tensors(norm))]
    return (torch.is_grad_enabled() and is_eager(*tensors) and not is_cpu_autocast_on()
            and given[0].dtype in (torch.float32, torch.float64)
            and all(tensor.device.type == 'cpu' and tensor.dtype == given[0].dtype for tensor in tensors)
            and not any(map(has_hooks, modules)))


def channels_fit(block: Bottle2neck, x: Tensor, identity: Tensor | None) -> bool:
    """Whether the weights have the channels that a block's width and scales say."""
    if x.dim() != 4:
        return False
    convs, norms = convs_and_norms(block, identity is None)
    inner, out = block.scales * block.width, len(block.conv3.weight)
    channels = [(x.shape[1], inner), *[(block.width, block.width)] * len(block.convs), (inner, out), (x.shape[1], out)]
    return all(have_channels(conv, norm, *of_layers) for of_layers, conv, norm in zip(channels, convs, norms))


def have_channels(conv: nn.Module, norm: nn.Module, before: int, after: int) -> bool:
    """Whether a convolution and its norm take so many channels to so many."""
    return (before % conv.groups == 0 and conv.weight.shape == (after, before // conv.groups, *conv.kernel_size)
            and all(tensor.shape == (after, ) for tensor in batch_norm_tensors(norm)))


def sizes_fit(block: Bottle2neck, x: Tensor, identity: Tensor | None) -> bool:
    """Whether all that is added and concatenated in a block has the same size, and every norm sees several pixels."""
    plan = make_plan(block, identity is None)
    size = (x.shape[2], x.shape[3])
    first = plan.convs[0].output_size(size)
    splits = {conv.output_size(first) for conv in plan.convs[1:plan.last]}
    splits |= {plan.pool.output_size(first) if plan.pool else first} if plan.scales > 1 else set()
    splits |= {first} if plan.adds and plan.scales > 2 else set()
    if len(splits) > 1:
        return False
    out = plan.convs[plan.last].output_size(*splits)
    shape = (len(x), len(block.conv3.weight), *out)
    if identity is not None:
        added = tuple(identity.shape)
    else:
        pooled = plan.shortcut_pool.output_size(size) if plan.shortcut_pool else size
        added = (*shape[:2], *plan.convs[-1].output_size(pooled)) if plan.has_shortcut else (*x.shape[:2], *pooled)
    # PyTorch has something to say about the statistics of one pixel, and about none.
    return added == shape and all(min(pixels) > 0 and len(x) * pixels[0] * pixels[1] > 1
                                  for pixels in (first, *splits, out))
