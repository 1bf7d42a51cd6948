"""Convolutions and poolings on feature maps in channels last, and their gradients.

A feature map in channels last is also a matrix (pixels, channels), which the kernels of norms take. The layers are
described by values, not by modules: what a backward pass does is settled in the forward pass.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d_with_indices

from ..geometry import as_pair, convolved_size
from .kernels import kernels

CHANNELS_LAST = torch.channels_last


def as_matrix(x: Tensor) -> Tensor:
    """(n, c, h, w), channels last -> (n·h·w, c), the same memory; a RuntimeError if it cannot be."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def as_feature_map(matrix: Tensor, like: Tensor) -> Tensor:
    """(n·h·w, c) -> (n, c, h, w), channels last, the same memory; n, h and w are those of another tensor."""
    n, _, h, w = like.shape
    return matrix.view(n, h, w, -1).permute(0, 3, 1, 2)


def empty_feature_map(like: Tensor, channels: int) -> Tensor:
    """A new tensor, channels last, of another's size but for the channels."""
    return as_feature_map(like.new_empty(len(as_matrix(like)), channels), like)


@dataclass(frozen=True)
class Convolution:
    """A 2D convolution without a bias, padded with zeros."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, conv: nn.Conv2d) -> Convolution:
        """What a layer computes with its weight."""
        return cls(conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output, of those of the input."""
        return convolved_size(size, self.kernel_size, self.padding, self.stride, self.dilation)

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """The output, channels last."""
        out = conv2d(x, weight, None, self.stride, self.padding, self.dilation, self.groups)
        return out.contiguous(memory_format=CHANNELS_LAST)

    def backward(self, grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool],
                 grad_x: Tensor | None = None) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of the input and of the weight.

        Args:
            grad (Tensor): That of the output.
            x (Tensor): The input.
            weight (Tensor): The weight.
            needs (tuple[bool, bool]): Which of the two are computed; None is returned for the other.
            grad_x (Tensor | None): What is added to the input's gradient, and may be overwritten. Defaults to None.
        """
        if self.kernel_size == self.stride == (1, 1) and self.padding == (0, 0) and self.groups == 1:
            return pointwise_backward(grad, x, weight, needs, grad_x)
        by_pytorch = (needs[0], needs[1] and self.groups > 1)
        grad_input = grad_weight = None
        if any(by_pytorch):
            geometry = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
            grad_input, grad_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, None, *geometry,
                                                                             (*by_pytorch, False))
        if needs[1] and self.groups == 1:
            # PyTorch's takes up to twice as long for feature maps in channels last.
            grad_weight = kernels().weight_gradient(x, grad, self.kernel_size, self.stride, self.padding, self.dilation)
        if grad_input is not None:
            grad_input = grad_input.contiguous(memory_format=CHANNELS_LAST)
            grad_input = grad_input if grad_x is None else grad_input.add_(grad_x)
        return grad_input, grad_weight


def pointwise_backward(grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool],
                       grad_x: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """``Convolution.backward`` of a 1×1 convolution, which is a product of matrices."""
    matrix, grad = weight.flatten(1), as_matrix(grad)
    grad_input = grad_weight = None
    if needs[1]:
        grad_weight = (grad.T @ as_matrix(x)).view_as(weight)
    if needs[0]:
        grad_input = grad @ matrix if grad_x is None else as_matrix(grad_x).addmm_(grad, matrix)
        grad_input = as_feature_map(grad_input, x)
    return grad_input, grad_weight


@dataclass(frozen=True)
class AveragePool:
    """A 2D average pooling."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    ceil_mode: bool
    count_include_pad: bool

    @classmethod
    def of(cls, pool: nn.AvgPool2d) -> AveragePool:
        """What a layer computes."""
        return cls(as_pair(pool.kernel_size), as_pair(pool.stride), as_pair(pool.padding), pool.ceil_mode,
                   pool.count_include_pad)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output, of those of the input."""

        def count(pixels: int, kernel: int, stride: int, padding: int) -> int:
            room = pixels + 2 * padding - kernel
            windows = (room + (stride - 1 if self.ceil_mode else 0)) // stride + 1
            # A window that would lie in the padding after the last pixel alone is none.
            return windows - (self.ceil_mode and (windows - 1) * stride >= pixels + padding)

        height, width = map(count, size, self.kernel_size, self.stride, self.padding)
        return height, width

    def __call__(self, x: Tensor) -> Tensor:
        """The output, channels last."""
        out = avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return out.contiguous(memory_format=CHANNELS_LAST)

    def backward(self, grad: Tensor, x: Tensor) -> Tensor:
        """The gradient of the input x, of which the size alone counts."""
        grad_x = torch.ops.aten.avg_pool2d_backward(grad, x, self.kernel_size, self.stride, self.padding,
                                                    self.ceil_mode, self.count_include_pad, None)
        return grad_x.contiguous(memory_format=CHANNELS_LAST)


@dataclass(frozen=True)
class MaxPool:
    """A 2D max pooling."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool

    @classmethod
    def of(cls, pool: nn.MaxPool2d) -> MaxPool:
        """What a layer computes."""
        return cls(as_pair(pool.kernel_size), as_pair(pool.stride), as_pair(pool.padding), as_pair(pool.dilation),
                   pool.ceil_mode)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output, channels last, and where its values were in the input."""
        out, indices = max_pool2d_with_indices(x, self.kernel_size, self.stride, self.padding, self.dilation,
                                               self.ceil_mode)
        return out.contiguous(memory_format=CHANNELS_LAST), indices

    def backward(self, grad: Tensor, like: Tensor, indices: Tensor) -> Tensor:
        """The gradient of an input, of which only a tensor of its size is given."""
        grad_x = torch.ops.aten.max_pool2d_with_indices_backward(
            grad, like, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, indices)
        return grad_x.contiguous(memory_format=CHANNELS_LAST)
