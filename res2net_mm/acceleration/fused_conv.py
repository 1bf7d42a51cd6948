"""The layer that accelerated backbones are made of: a convolution, and what follows it."""
from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Iterator, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm

from .eager import is_cpu_autocast_on, is_eager
from .geometry import convolved_size

_operators_alone: ContextVar[bool] = ContextVar('operators_alone', default=False)


class NotFiniteError(ArithmeticError):
    """There are numbers that are not finite, in images or weights: oneDNN's ReLU would make zeros of them."""


@contextmanager
def operators_alone() -> Iterator[None]:
    """Have PyTorch's operators run every FusedConv of this thread."""
    token = _operators_alone.set(True)
    try:
        yield
    finally:
        _operators_alone.reset(token)


def are_operators_alone() -> bool:
    """Whether PyTorch's operators are to run every FusedConv of this thread."""
    return _operators_alone.get()


def has_finite_sum(x: Tensor) -> bool:
    """Whether the sum of a tensor is finite, as it is of images and weights unless one of their numbers is not.

    On a CPU it is NumPy's. After one of PyTorch's, its threads stay awake for some milliseconds, and take the time of
    those that run the network.
    """
    if x.is_cpu and x.dtype in (torch.float32, torch.float64):
        with np.errstate(all='ignore'):
            return bool(np.isfinite(x.detach().numpy().sum()))
    return bool(x.detach().sum().isfinite())


class Packed(NamedTuple):
    """Weights for oneDNN, what they were made of, and the latest input."""

    weight: Tensor
    bias: Tensor
    weight_version: int
    bias_version: int
    address: int  # of the weight, which ``weight.data = ...`` changes without a new version
    dense: Tensor  # the weight, channels last: for any size; oneDNN brings it to its own order at every call
    shape: torch.Size  # of the latest input
    reordered: Tensor | None = None  # the weight in the order that oneDNN wants for that shape, once it was repeated

    def is_of(self, weight: Tensor, bias: Tensor) -> bool:
        """Whether they were made of these tensors, which nobody wrote to since."""
        return (weight is self.weight and bias is self.bias and weight._version == self.weight_version
                and bias._version == self.bias_version and weight.data_ptr() == self.address)


class FusedConv(nn.Module):
    """A convolution with bias, then an addition, if there is something to add, and a ReLU, if it is asked for.

    On a CPU, in float32, this is one call of oneDNN. From the second input of a size on, until one of another size, the
    weights are kept in the order that oneDNN wants for that size. It has several, and brings one to another by a loop
    that takes longer than the convolution; so each is made of the plain weights, and one is kept at a time.

    Wherever that call is not known to do the same, PyTorch's operators run: where something is traced or transformed,
    needs a gradient, is of another type or under autocast, where shapes broadcast, and under ``operators_alone``.

    Args:
        conv (nn.Conv2d): The convolution; its padding is numbers and zeros.
        norm (_BatchNorm | None): The batch norm that follows it, with running statistics. Defaults to None.
        relu (bool): Whether a ReLU comes last. Defaults to False.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, norm: _BatchNorm | None = None, relu: bool = False) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.relu = relu
        weight = conv.weight.detach()
        bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach()
        weight, bias = (weight, bias) if norm is None else fold(norm, weight, bias)
        self.register_buffer('weight', weight)
        self.register_buffer('bias', bias)
        self._packed: Packed | None = None

    def forward(self, x: Tensor, addend: Tensor | None = None, overwrite: bool = False) -> Tensor:
        """Convolve.

        Args:
            x (Tensor): (n, in_channels, h, w).
            addend (Tensor | None): (n, out_channels, h', w'), or what broadcasts to it; added before the ReLU.
                Defaults to None.
            overwrite (bool): Whether nobody reads the addend again, nor is it x, so that the result may take its place
                in memory. Defaults to False.

        Returns:
            Tensor: (n, out_channels, h', w').

        Raises:
            NotFiniteError: If the weights are not finite, and oneDNN would run them.
        """
        eager = is_eager(x) if addend is None else is_eager(x, addend)
        if eager and self._has_kernel(x, addend):
            packed = self._pack(x)
            if packed is not None:
                return self._one_pass(x, packed, addend, overwrite)
        padding, stride, dilation, groups = self.geometry
        out = conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        if addend is not None:
            alike = eager and (out.shape, out.dtype) == (addend.shape, addend.dtype)
            out = out.add_(addend) if alike else out + addend
        if not self.relu:
            return out
        return out.relu_() if eager else out.relu()

    def _has_kernel(self, x: Tensor, addend: Tensor | None) -> bool:
        """Whether oneDNN's call does what PyTorch's operators do with these tensors, of which none is special."""
        if not (torch.backends.mkldnn.enabled and x.is_cpu and x.dtype is torch.float32 and x.dim() == 4) or (
                are_operators_alone() or is_cpu_autocast_on()):
            return False
        if addend is not None and not (addend.is_cpu and addend.dtype is torch.float32
                                       and addend.shape == self._output_shape(x)):
            return False
        needs_gradient = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad
                                                      or addend is not None and addend.requires_grad)
        return not needs_gradient and x.numel() > 0 and x.shape[1] == self.weight.shape[1] * self.geometry[3]

    def _output_shape(self, x: Tensor) -> tuple[int, ...]:
        padding, stride, dilation, _ = self.geometry
        weight = self.weight.shape
        return (x.shape[0], weight[0], *convolved_size(x.shape[2:], weight[2:], padding, stride, dilation))

    def _pack(self, x: Tensor) -> Packed | None:
        """The weights for oneDNN's call, made anew when they have been replaced or written to.

        None if they are of another type or elsewhere, or have no version.
        """
        weight, bias, packed = self.weight, self.bias, self._packed
        if packed is not None and packed.is_of(weight, bias):
            if packed.shape != x.shape:
                packed = packed._replace(shape=x.shape, reordered=None)
            elif packed.reordered is None:
                reordered = torch.ops.mkldnn._reorder_convolution_weight(packed.dense, *self.geometry, x.shape)
                packed = packed._replace(reordered=reordered)
            self._packed = packed
            return packed
        if not all(tensor.dtype == torch.float32 and tensor.is_cpu and not tensor.is_inference()
                   for tensor in (weight, bias)):
            return None
        if not has_finite_sum(weight) or not has_finite_sum(bias):
            raise NotFiniteError('weights of a convolution are not finite')
        dense = channels_last(weight.detach())
        self._packed = Packed(weight, bias, weight._version, bias._version, weight.data_ptr(), dense, x.shape)
        return self._packed

    def _one_pass(self, x: Tensor, packed: Packed, addend: Tensor | None, overwrite: bool) -> Tensor:
        ops, relu = torch.ops.mkldnn, 'relu' if self.relu else None
        weight = packed.dense if packed.reordered is None else packed.reordered
        if addend is None:
            return ops._convolution_pointwise(x, weight, packed.bias, *self.geometry, relu or 'none', [], '')
        epilogue: tuple[Any, ...] = (weight, packed.bias, *self.geometry, 'add', 1.0, relu, [], '')
        if overwrite:
            return ops._convolution_pointwise_.binary(addend, x, *epilogue)
        return ops._convolution_pointwise.binary(x, addend, *epilogue)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_packed': None}  # it has no storage that could be copied

    def extra_repr(self) -> str:
        return f'{tuple(self.weight.shape)}, relu={self.relu}'


def channels_last(weight: Tensor) -> Tensor:
    """A weight with its channels last in memory, and strides that say so, also where a 1x1 kernel lies either way."""
    _, channels, height, width = weight.shape
    strides = (channels * height * width, 1, channels * width, channels)
    return weight.contiguous(memory_format=torch.channels_last).as_strided(weight.shape, strides)


def fold(norm: _BatchNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it; in double precision, so that nothing is lost."""
    assert norm.running_var is not None and norm.running_mean is not None  # what a fusable norm has
    scale = norm.running_var.double().add(norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.detach().double()
    shift = 0 if norm.bias is None else norm.bias.detach().double()
    folded = weight.double() * scale[:, None, None, None]
    return folded.to(weight.dtype), ((bias.double() - norm.running_mean.double()) * scale + shift).to(bias.dtype)
