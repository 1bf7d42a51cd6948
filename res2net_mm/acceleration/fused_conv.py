"""The layer that accelerated backbones are made of: a convolution, and what follows it."""
from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm

from .eager import is_cpu_autocast_on, is_eager

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


def is_finite(x: Tensor) -> bool:
    """Whether a tensor holds finite numbers alone; their sum is, too, if they are no larger than images or weights."""
    return bool(x.detach().sum().isfinite())


class FusedConv(nn.Module):
    """A convolution with bias, then an addition, if there is something to add, and a ReLU, if it is asked for.

    On a CPU, in float32, this is one call of oneDNN, with the weights in the order that it wants for the first input.
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
        # Weight and bias, their versions then, and the weight in oneDNN's order.
        self._packed: tuple[Tensor, Tensor, tuple[int, int], Tensor] | None = None

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
        tensors = [x] if addend is None else [x, addend]
        eager = is_eager(*tensors)
        if eager and self._has_kernel(x, addend):
            return self._one_pass(x, addend, overwrite)
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
        weights, groups = (self.weight, self.bias), self.geometry[-1]
        tensors = (x, *weights) if addend is None else (x, addend, *weights)
        return (torch.backends.mkldnn.enabled and not _operators_alone.get() and not is_cpu_autocast_on()
                and all(tensor.dtype == torch.float32 and tensor.device.type == 'cpu' for tensor in tensors)
                and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
                and not any(tensor.is_inference() for tensor in weights)  # these have no versions
                and x.dim() == 4 and x.numel() > 0 and x.shape[1] == self.weight.shape[1] * groups
                and (addend is None or tuple(addend.shape) == self._output_shape(x)))

    def _output_shape(self, x: Tensor) -> tuple[int, ...]:
        sides = zip(x.shape[2:], self.weight.shape[2:], *self.geometry[:3])
        return (len(x), len(self.weight), *((side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
                                            for side, kernel, padding, stride, dilation in sides))

    def _one_pass(self, x: Tensor, addend: Tensor | None, overwrite: bool) -> Tensor:
        ops, weight, relu = torch.ops.mkldnn, self._pack(x), 'relu' if self.relu else None
        if addend is None:
            return ops._convolution_pointwise(x, weight, self.bias, *self.geometry, relu or 'none', [], '')
        epilogue: tuple[Any, ...] = (weight, self.bias, *self.geometry, 'add', 1.0, relu, [], '')
        if overwrite:
            return ops._convolution_pointwise_.binary(addend, x, *epilogue)
        return ops._convolution_pointwise.binary(x, addend, *epilogue)

    def _pack(self, x: Tensor) -> Tensor:
        """The weights in oneDNN's order, made anew when they have been replaced or written to."""
        weight, bias, packed = self.weight, self.bias, self._packed
        versions = weight._version, bias._version
        if packed is None or packed[0] is not weight or packed[1] is not bias or packed[2] != versions:
            if not is_finite(weight) or not is_finite(bias):
                raise NotFiniteError('weights of a convolution are not finite')
            reordered = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, x.shape)
            self._packed = packed = weight, bias, versions, reordered
        return packed[3]

    def unpack(self) -> None:
        """Forget the weights in oneDNN's order, so that the next input decides it."""
        self._packed = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_packed': None}  # it has no storage that could be copied

    def extra_repr(self) -> str:
        return f'{tuple(self.weight.shape)}, relu={self.relu}'


def fold(norm: _BatchNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it; in double precision, so that nothing is lost."""
    assert norm.running_var is not None and norm.running_mean is not None  # what a fusable norm has
    scale = norm.running_var.double().add(norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.detach().double()
    shift = 0 if norm.bias is None else norm.bias.detach().double()
    folded = weight.double() * scale[:, None, None, None]
    return folded.to(weight.dtype), ((bias.double() - norm.running_mean.double()) * scale + shift).to(bias.dtype)
