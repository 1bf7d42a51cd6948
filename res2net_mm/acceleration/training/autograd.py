"""Forward and backward pass of a block in one piece.

:class:`FusedBlock` keeps the outputs of a block's convolutions alone: all else comes from them in one pass over memory.
Both its passes write where the next operation reads, so that splits, the additions between them and the concatenation
take no pass of their own.
"""
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import conv2d

from .norm_kernels import Norm, moments, normalise, normalise_backward


class Origin(NamedTuple):
    """What a tensor can be made from again: a base, or none, to which normalised outputs of convolutions are added."""

    base: torch.Tensor
    outputs: tuple = ()  # (n, c, h, w), channels last
    steps: tuple = ()  # for every output its norm, and whether a ReLU follows

    def then(self, output, norm, relu):
        return Origin(self.base, (*self.outputs, output), (*self.steps, (norm, relu)))

    def make(self):
        made = self.base
        for output, (norm, relu) in zip(self.outputs, self.steps):
            addend = None if made is None else rows(made)
            made = images(normalise(rows(output), norm, addend=addend, relu_last=relu), output)
        return made


class ChannelsLast(torch.autograd.Function):
    """Channels last from here on; the layers before get their gradient in the layout of what they gave."""

    @staticmethod
    def forward(ctx, x):
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, grad):
        return grad.contiguous()


class FusedBlock(torch.autograd.Function):
    """Forward and backward pass of a block, on channels-last images and on the matrices (pixels, channels) in them.

    The names are those of :class:`Bottle2neck`, and z1, z2, z3 and z4 the outputs of its convolutions: the first 1×1,
    the 3×3, the last 1×1 and the shortcut's, if there is one.
    """

    @staticmethod
    def forward(ctx, block, convs, norms, origins, x, identity, *weights):
        """Run the block.

        Args:
            ctx: Autograd's context.
            block (Bottle2neck): The block.
            convs (list[Conv2d]): Its convolutions.
            norms (list[BatchNorm2d]): Their norms.
            origins (list[Origin]): That of x; that of the result is appended.
            x (Tensor): (n, in_channels, h, w), channels last.
            identity (Tensor | None): What the result is added to, of its shape. Defaults to None: the shortcut of x.
            *weights (Tensor): Of every convolution, in order: its weight and its norm's weight and bias.

        Returns:
            Tensor: (n, out_channels, h', w'), channels last.
        """
        splits, affine = Splits(block), list(zip(weights[1::3], weights[2::3]))
        weights = weights[::3]
        last = len(block.convs) + 1  # the index of conv3
        z1 = convolve(x, weights[0], convs[0])
        found = [norm_of(norms[0], z1, *affine[0])]
        z2, y = [], None
        for i in range(1, last):
            u = splits.convolution_input(z1, found[0], y, i - 1)
            z2.append(convolve(u, weights[i], convs[i]))
            if i == 1:
                y = empty_images(z2[0], splits.scales * splits.width)
            found.append(norm_of(norms[i], z2[-1], *affine[i]))
            normalise(rows(z2[-1]), found[i], splits.of(y, i - 1), relu_last=True)
        splits.pass_last(z1, found[0], y)
        z3 = convolve(y, weights[last], convs[last])
        found.append(norm_of(norms[last], z3, *affine[last]))

        z4 = []
        if len(convs) > last + 1:
            z4 = [convolve(shortcut_input(block, x), weights[-1], convs[-1])]
            found.append(norm_of(norms[-1], z4[0], *affine[-1]))
            origin = Origin(None).then(z4[0], found[-1], False)
        elif identity is None:
            origin = origins[0]
        else:
            origin = Origin(identity.contiguous(memory_format=torch.channels_last))
        added = origin.make() if z4 else x if identity is None else origin.base
        out = torch.empty_like(z3)  # no view, so that it may be changed in place
        normalise(rows(z3), found[last], rows(out), addend=rows(added), relu_last=block.last_relu)

        ctx.block, ctx.convs, ctx.norms, ctx.steps = block, convs, found, origins[0].steps
        ctx.given = identity is not None
        origins.append(origin.then(z3, found[last], block.last_relu))
        ctx.save_for_backward(origins[0].base, origin.base if ctx.given else None, *origins[0].outputs,
                              z1, *z2, z3, *z4, *weights)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
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
        grads, affine = [None] * len(convs), [None] * len(convs)

        # relu(norm3(z3) + identity)
        grad = rows(grad.contiguous(memory_format=torch.channels_last))
        grad_z3, affine[last], masked = normalise_backward(grad, rows(z3), norms[last], relu=block.last_relu,
                                                           addend=rows(added) if block.last_relu else None)
        grad_identity = masked if block.last_relu else grad.clone()  # it is added to; this one is the caller's
        del grad, masked, added

        # z3 = conv3(y)
        y = empty_images(z3, splits.scales * splits.width)
        for i in range(1, last):
            normalise(rows(zs[i]), norms[i], splits.of(y, i - 1), relu_last=True)
        splits.pass_last(z1, norms[0], y)
        grad_y, grads[last] = convolve_backward(images(grad_z3, z3), y, weights[last], convs[last])
        del grad_z3

        # y_i = relu(norm(z_i)), z_i = conv(u_i + y_{i-1})
        grad_z1, affine1 = torch.empty_like(z1), [None] * splits.scales
        of_next = None  # the gradient of the next convolution's input, which y_i is part of
        for i in reversed(range(1, last)):
            grad_z, affine[i], _ = normalise_backward(splits.of(grad_y, i - 1), rows(zs[i]), norms[i], relu=True,
                                                      grad2=of_next)
            u = splits.convolution_input(z1, norms[0], y, i - 1)
            grad_u, grads[i] = convolve_backward(images(grad_z, zs[i]), u, weights[i], convs[i])
            affine1[i - 1] = splits.backward(rows(grad_u), z1, norms[0], grad_z1, i - 1)
            of_next = rows(grad_u) if splits.adds else None
        if splits.scales > 1:
            affine1[-1] = splits.backward(splits.last_backward(grad_y, z1), z1, norms[0], grad_z1, splits.scales - 1)
        affine[0] = torch.cat(affine1, 1)
        del y, grad_y, grad_u, of_next

        # z1 = conv1(x), identity = shortcut(x)
        if len(convs) > last + 1:
            grad_z4, affine[-1], _ = normalise_backward(grad_identity, rows(zs[-1]), norms[-1])
            grad_x, grads[-1] = convolve_backward(images(grad_z4, zs[-1]), shortcut_input(block, x), weights[-1],
                                                  convs[-1])
            grad_x = shortcut_input_backward(block, grad_x, x)
        else:
            grad_x = None if ctx.given else images(grad_identity, x)
        grad_x, grads[0] = convolve_backward(grad_z1, x, weights[0], convs[0], grad_x)
        flat = [each for grad_w, (bias, weight) in zip(grads, affine) for each in (grad_w, weight, bias)]
        return None, None, None, None, grad_x, images(grad_identity, z3) if ctx.given else None, *flat


class Splits:
    """The splits of a block's tensors."""

    def __init__(self, block):
        self.width, self.scales, self.adds = block.width, block.scales, not block.stage_block
        self.pool = block.pool if isinstance(block.pool, nn.AvgPool2d) else None

    def channels(self, i):
        return slice(i * self.width, (i + 1) * self.width)

    def of(self, x, i):
        """Split i, (pixels, width), the same memory."""
        return rows(x)[:, self.channels(i)]

    def convolution_input(self, z1, norm1, y, i):
        """u_i + y_{i-1}, or u_i alone."""
        addend = self.of(y, i - 1) if self.adds and i else None
        return images(normalise(self.of(z1, i), norm1.of(self.channels(i)), addend=addend, relu_first=True), z1)

    def backward(self, grad, z1, norm1, grad_z1, i):
        """Write split i of z1's gradient; return the gradients of its norm's bias and weight, (2, width)."""
        norm = norm1.of(self.channels(i))
        return normalise_backward(grad, self.of(z1, i), norm, self.of(grad_z1, i), relu=True)[1]

    def pass_last(self, z1, norm1, y):
        """Write y_s, the split that no convolution takes; there is none if there is but one."""
        i = self.scales - 1
        if self.pool:
            u = normalise(self.of(z1, i), norm1.of(self.channels(i)), relu_last=True)
            self.of(y, i).copy_(rows(self.pool(images(u, z1))))
        elif i:
            normalise(self.of(z1, i), norm1.of(self.channels(i)), self.of(y, i), relu_last=True)

    def last_backward(self, grad_y, z1):
        """The gradient of u_s, (pixels, width)."""
        grad = self.of(grad_y, self.scales - 1)
        if self.pool:
            like = empty_images(z1, self.width)
            grad = rows(pool_backward(self.pool, images(grad.contiguous(), grad_y), like))
        return grad


# Layers and their gradients.


def rows(x):
    """(n, c, h, w), channels last -> (n·h·w, c), the same memory."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def images(matrix, like):
    """(n·h·w, c) -> (n, c, h, w), channels last, the same memory; n, h and w are those of another tensor."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


def empty_images(like, channels):
    return images(like.new_empty(len(rows(like)), channels), like)


def convolve(x, weight, conv):
    out = conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return out.contiguous(memory_format=torch.channels_last)


def convolve_backward(grad, x, weight, conv, grad_x=None):
    """The gradients of a convolution's input, added to ``grad_x`` if there is one, and of its weights."""
    if conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1:  # a product of matrices
        matrix, grad = weight.flatten(1), rows(grad)
        of_weight = (grad.T @ rows(x)).view_as(weight)
        of_x = grad @ matrix if grad_x is None else rows(grad_x).addmm_(grad, matrix)
        return images(of_x, x), of_weight
    geometry = (conv.stride, conv.padding, conv.dilation, False, (0, 0), conv.groups)
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry, (True, True, False))
    of_x = of_x.contiguous(memory_format=torch.channels_last)
    return of_x if grad_x is None else of_x.add_(grad_x), of_weight


def shortcut_input(block, x):
    """What the convolution of the shortcut takes: x, or the average of its pixels."""
    if len(block.downsample) == 2:
        return x
    return block.downsample[0](x).contiguous(memory_format=torch.channels_last)


def shortcut_input_backward(block, grad, x):
    return grad if len(block.downsample) == 2 else pool_backward(block.downsample[0], grad, x)


def pool_backward(pool, grad, x):
    sizes = ((size, size) for size in (pool.kernel_size, pool.stride, pool.padding))
    grad_x = torch.ops.aten.avg_pool2d_backward(grad, x, *sizes, pool.ceil_mode, pool.count_include_pad, None)
    return grad_x.contiguous(memory_format=torch.channels_last)


def norm_of(bn, z, weight, bias):
    """What a batch norm will do to a batch; its running statistics follow, as they do in PyTorch."""
    z = rows(z)
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
