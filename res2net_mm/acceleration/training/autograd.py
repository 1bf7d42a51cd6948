"""Forward and backward pass of a block in one piece.

:class:`FusedBlock` keeps the outputs of a block's convolutions alone: all else comes from them in one pass over memory.
Both its passes write where the next operation reads, so that splits, the additions between them and the concatenation
take no pass of their own.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import BatchNorm2d

from ...models.layers.bottle2neck import Bottle2neck
from .norm_kernels import Norm, moments, normalise, normalise_backward


@dataclass(frozen=True)
class Origin:
    """What a tensor can be computed from again, instead of being kept.

    It is a base, or none, to which normalised outputs of convolutions are added.
    """

    base: Tensor | None
    outputs: tuple[Tensor, ...] = ()  # (n, c, h, w), channels last
    steps: tuple[tuple[Norm, bool], ...] = ()  # for every output its norm, and whether a ReLU follows

    def then(self, output: Tensor, norm: Norm, relu: bool) -> Origin:
        """The origin of what one more step makes of the tensor."""
        return Origin(self.base, (*self.outputs, output), (*self.steps, (norm, relu)))

    def make(self) -> Tensor:
        """The tensor, (n, c, h, w), channels last."""
        x = self.base
        for output, (norm, relu) in zip(self.outputs, self.steps):
            addend = None if x is None else as_matrix(x)
            x = as_feature_map(normalise(as_matrix(output), norm, addend=addend, relu_last=relu), output)
        return x


class ChannelsLast(torch.autograd.Function):
    """Channels last from here on; the layers before get their gradient in the layout of their output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The same values, channels last."""
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The same gradient, contiguous."""
        return grad.contiguous()


class FusedBlock(torch.autograd.Function):
    """Forward and backward pass of a block.

    Feature maps are in channels last, so that they are also matrices (pixels, channels). The names are those of
    :class:`Bottle2neck`, and z1, z2, z3 and z4 the outputs of its convolutions: the first 1×1, the 3×3, the last 1×1
    and the shortcut's, if there is one.
    """

    @staticmethod
    def forward(ctx: Any, block: Bottle2neck, convs: list[nn.Conv2d], bns: list[BatchNorm2d], origins: list[Origin],
                x: Tensor, identity: Tensor | None, *parameters: Tensor) -> Tensor:
        """Run the block.

        Args:
            ctx: Autograd's context.
            block (Bottle2neck): The block.
            convs (list[Conv2d]): Its convolutions.
            bns (list[BatchNorm2d]): Their batch norms.
            origins (list[Origin]): That of x; that of the result is appended.
            x (Tensor): (n, in_channels, h, w), channels last.
            identity (Tensor | None): What the result is added to, of its shape. None: the shortcut of x.
            *parameters (Tensor): Of every convolution, in order: its weight and its norm's weight and bias.

        Returns:
            Tensor: (n, out_channels, h', w'), channels last.
        """
        splits = Splits(block)
        weights, affine = parameters[::3], list(zip(parameters[1::3], parameters[2::3]))
        last = len(block.convs) + 1  # the index of conv3
        z1 = convolve(x, weights[0], convs[0])
        norms = [update_statistics(bns[0], z1, *affine[0])]
        z2, y = [], None
        for i in range(1, last):
            u = splits.convolution_input(z1, norms[0], y, i - 1)
            z2.append(convolve(u, weights[i], convs[i]))
            if i == 1:
                y = empty_feature_map(z2[0], splits.scales * splits.width)
            norms.append(update_statistics(bns[i], z2[-1], *affine[i]))
            normalise(as_matrix(z2[-1]), norms[i], splits.part(y, i - 1), relu_last=True)
        splits.pass_last(z1, norms[0], y)
        z3 = convolve(y, weights[last], convs[last])
        norms.append(update_statistics(bns[last], z3, *affine[last]))

        z4 = []
        if len(convs) > last + 1:
            z4 = [convolve(shortcut_input(block, x), weights[-1], convs[-1])]
            norms.append(update_statistics(bns[-1], z4[0], *affine[-1]))
            origin = Origin(None).then(z4[0], norms[-1], False)
        elif identity is None:
            origin = origins[0]
        else:
            origin = Origin(identity.contiguous(memory_format=torch.channels_last))
        added = origin.make() if z4 else x if identity is None else origin.base
        out = torch.empty_like(z3)  # no view, so that it may be changed in place
        normalise(as_matrix(z3), norms[last], as_matrix(out), addend=as_matrix(added), relu_last=block.last_relu)

        ctx.block, ctx.convs, ctx.norms, ctx.steps = block, convs, norms, origins[0].steps
        ctx.has_identity = identity is not None
        origins.append(origin.then(z3, norms[last], block.last_relu))
        ctx.save_for_backward(origins[0].base, origin.base if ctx.has_identity else None, *origins[0].outputs,
                              z1, *z2, z3, *z4, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of forward's arguments."""
        block, convs, norms, splits = ctx.block, ctx.convs, ctx.norms, Splits(ctx.block)
        base, identity, *saved = ctx.saved_tensors
        outputs, saved = saved[:len(ctx.steps)], saved[len(ctx.steps):]
        zs, weights = saved[:len(convs)], saved[len(convs):]
        last = len(block.convs) + 1
        z1, z3 = zs[0], zs[last]
        x = Origin(base, outputs, ctx.steps).make()
        added = x if identity is None else identity
        if len(convs) > last + 1:
            added = Origin(None).then(zs[-1], norms[-1], False).make()
        grads: list[Tensor | None] = [None] * len(convs)
        affine: list[Tensor | None] = [None] * len(convs)

        # relu(norm3(z3) + identity)
        grad = as_matrix(grad.contiguous(memory_format=torch.channels_last))
        grad_z3, affine[last], masked = normalise_backward(grad, as_matrix(z3), norms[last], relu=block.last_relu,
                                                           addend=as_matrix(added) if block.last_relu else None)
        grad_identity = masked if block.last_relu else grad.clone()  # it is added to; this one is the caller's
        del grad, masked, added

        # z3 = conv3(y)
        y = empty_feature_map(z3, splits.scales * splits.width)
        for i in range(1, last):
            normalise(as_matrix(zs[i]), norms[i], splits.part(y, i - 1), relu_last=True)
        splits.pass_last(z1, norms[0], y)
        grad_y, grads[last] = convolve_backward(as_feature_map(grad_z3, z3), y, weights[last], convs[last])
        del grad_z3

        grad_z1 = hierarchy_backward(ctx, grad_y, y, zs, weights, grads, affine)
        del y, grad_y

        # z1 = conv1(x), identity = shortcut(x)
        if len(convs) > last + 1:
            grad_z4, affine[-1], _ = normalise_backward(grad_identity, as_matrix(zs[-1]), norms[-1])
            grad_x, grads[-1] = convolve_backward(as_feature_map(grad_z4, zs[-1]), shortcut_input(block, x),
                                                  weights[-1], convs[-1])
            grad_x = shortcut_input_backward(block, grad_x, x)
        else:
            grad_x = None if ctx.has_identity else as_feature_map(grad_identity, x)
        grad_x, grads[0] = convolve_backward(grad_z1, x, weights[0], convs[0], grad_x)
        grad_identity = as_feature_map(grad_identity, z3) if ctx.has_identity else None
        grad_parameters: list[Tensor | None] = []
        for grad_conv, grad_norm in zip(grads, affine):
            assert grad_norm is not None  # a norm follows every convolution
            bias, weight = grad_norm
            grad_parameters += [grad_conv, weight, bias]
        return None, None, None, None, grad_x, grad_identity, *grad_parameters


def hierarchy_backward(ctx: Any, grad_y: Tensor, y: Tensor, zs: list[Tensor], weights: list[Tensor],
                       grads: list[Tensor | None], affine: list[Tensor | None]) -> Tensor:
    """The gradient of z1 through y, of which y_i = relu(norm(z_i)) and z_i = conv(u_i + y_{i-1}).

    Args:
        ctx: Autograd's context, as ``FusedBlock.forward`` leaves it.
        grad_y (Tensor): The gradient of y.
        y (Tensor): All splits, the input of conv3.
        zs (list[Tensor]): Outputs of the convolutions.
        weights (list[Tensor]): Their weights.
        grads (list[Tensor | None]): Gradients of the weights; those of the 3×3 are written.
        affine (list[Tensor | None]): Gradients of the norms' biases and weights; those of z1 and the 3×3 are written.
    """
    splits, convs, norms = Splits(ctx.block), ctx.convs, ctx.norms
    z1 = zs[0]
    grad_z1, affine1 = torch.empty_like(z1), [None] * splits.scales
    grad_next = None  # the gradient of the next convolution's input, which y_i is part of
    for i in reversed(range(1, len(ctx.block.convs) + 1)):
        grad_z, affine[i], _ = normalise_backward(splits.part(grad_y, i - 1), as_matrix(zs[i]), norms[i], relu=True,
                                                  grad2=grad_next)
        u = splits.convolution_input(z1, norms[0], y, i - 1)
        grad_u, grads[i] = convolve_backward(as_feature_map(grad_z, zs[i]), u, weights[i], convs[i])
        affine1[i - 1] = splits.backward(as_matrix(grad_u), z1, norms[0], grad_z1, i - 1)
        grad_next = as_matrix(grad_u) if splits.adds else None
    if splits.scales > 1:
        affine1[-1] = splits.backward(splits.last_backward(grad_y, z1), z1, norms[0], grad_z1, splits.scales - 1)
    affine[0] = torch.cat(affine1, 1)
    return grad_z1


class Splits:
    """The splits of a block's tensors, and the one of them that no convolution takes.

    Args:
        block (Bottle2neck): The block.
    """

    def __init__(self, block: Bottle2neck) -> None:
        self.width, self.scales, self.adds = block.width, block.scales, not block.stage_block
        self.pool = block.pool if isinstance(block.pool, nn.AvgPool2d) else None

    def channels(self, i: int) -> slice:
        """The channels of split i."""
        return slice(i * self.width, (i + 1) * self.width)

    def part(self, x: Tensor, i: int) -> Tensor:
        """Split i of a feature map, (pixels, width), the same memory."""
        return as_matrix(x)[:, self.channels(i)]

    def convolution_input(self, z1: Tensor, norm1: Norm, y: Tensor | None, i: int) -> Tensor:
        """u_i + y_{i-1}, or u_i alone."""
        addend = self.part(y, i - 1) if self.adds and i else None
        u = normalise(self.part(z1, i), norm1.select(self.channels(i)), addend=addend, relu_first=True)
        return as_feature_map(u, z1)

    def backward(self, grad: Tensor, z1: Tensor, norm1: Norm, grad_z1: Tensor, i: int) -> Tensor:
        """Write split i of z1's gradient; return the gradients of its norm's bias and weight, (2, width)."""
        norm = norm1.select(self.channels(i))
        return normalise_backward(grad, self.part(z1, i), norm, self.part(grad_z1, i), relu=True)[1]

    def pass_last(self, z1: Tensor, norm1: Norm, y: Tensor) -> None:
        """Write y_s, the split that no convolution takes; there is none if there is but one."""
        i = self.scales - 1
        if self.pool:
            u = normalise(self.part(z1, i), norm1.select(self.channels(i)), relu_last=True)
            self.part(y, i).copy_(as_matrix(self.pool(as_feature_map(u, z1))))
        elif i:
            normalise(self.part(z1, i), norm1.select(self.channels(i)), self.part(y, i), relu_last=True)

    def last_backward(self, grad_y: Tensor, z1: Tensor) -> Tensor:
        """The gradient of u_s, (pixels, width)."""
        grad = self.part(grad_y, self.scales - 1)
        if self.pool:
            like = empty_feature_map(z1, self.width)
            grad = as_matrix(pool_backward(self.pool, as_feature_map(grad.contiguous(), grad_y), like))
        return grad


# Layers and their gradients.


def as_matrix(x: Tensor) -> Tensor:
    """(n, c, h, w), channels last -> (n·h·w, c), the same memory."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def as_feature_map(matrix: Tensor, like: Tensor) -> Tensor:
    """(n·h·w, c) -> (n, c, h, w), channels last, the same memory; n, h and w are those of another tensor."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


def empty_feature_map(like: Tensor, channels: int) -> Tensor:
    """A new tensor, channels last, of another's size but for the channels."""
    return as_feature_map(like.new_empty(len(as_matrix(like)), channels), like)


def convolve(x: Tensor, weight: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution's output, channels last."""
    out = conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return out.contiguous(memory_format=torch.channels_last)


def convolve_backward(grad: Tensor, x: Tensor, weight: Tensor, conv: nn.Conv2d,
                      grad_x: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The gradients of a convolution's input, added to ``grad_x`` if there is one, and of its weights."""
    if conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1:  # a product of matrices
        matrix, grad = weight.flatten(1), as_matrix(grad)
        grad_weight = (grad.T @ as_matrix(x)).view_as(weight)
        grad_input = grad @ matrix if grad_x is None else as_matrix(grad_x).addmm_(grad, matrix)
        return as_feature_map(grad_input, x), grad_weight
    geometry = (conv.stride, conv.padding, conv.dilation, False, (0, 0), conv.groups)
    grad_input, grad_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry,
                                                                     (True, True, False))
    grad_input = grad_input.contiguous(memory_format=torch.channels_last)
    return grad_input if grad_x is None else grad_input.add_(grad_x), grad_weight


def shortcut_input(block: Bottle2neck, x: Tensor) -> Tensor:
    """What the convolution of the shortcut takes: x, or the average of its pixels."""
    pool = shortcut_pool(block)
    return x if pool is None else pool(x).contiguous(memory_format=torch.channels_last)


def shortcut_input_backward(block: Bottle2neck, grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of x through ``shortcut_input``."""
    pool = shortcut_pool(block)
    return grad if pool is None else pool_backward(pool, grad, x)


def shortcut_pool(block: Bottle2neck) -> nn.AvgPool2d | None:
    """The pooling before the convolution of a block's shortcut, if there is one."""
    shortcut = block.downsample
    assert shortcut is not None  # asked only of blocks whose shortcut has a convolution
    return None if len(shortcut) == 2 else shortcut[0]


def pool_backward(pool: nn.AvgPool2d, grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of an average pooling's input x."""
    sizes = ((size, size) for size in (pool.kernel_size, pool.stride, pool.padding))
    grad_x = torch.ops.aten.avg_pool2d_backward(grad, x, *sizes, pool.ceil_mode, pool.count_include_pad, None)
    return grad_x.contiguous(memory_format=torch.channels_last)


def update_statistics(bn: BatchNorm2d, z: Tensor, weight: Tensor, bias: Tensor) -> Norm:
    """What a batch norm does to a batch; its running statistics follow, as they do in PyTorch."""
    z = as_matrix(z)
    statistics = bn.training or bn.running_mean is None
    mean, variance = moments(z) if statistics else (bn.running_mean, bn.running_var)
    if bn.training and bn.running_mean is not None:
        momentum = bn.momentum
        if bn.num_batches_tracked is not None:
            bn.num_batches_tracked += 1
            momentum = 1 / bn.num_batches_tracked.item() if momentum is None else momentum
        bn.running_mean.lerp_(mean, momentum)
        bn.running_var.lerp_(variance * (len(z) / (len(z) - 1)), momentum)
    invstd = (variance + bn.eps).rsqrt()
    scale = weight * invstd
    return Norm(scale, bias - mean * scale, mean, invstd, statistics)
