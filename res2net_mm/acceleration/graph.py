"""What all passes over a backbone's graph share: tracer, fused convolution, questions about nodes."""
from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import conv2d
from torch.nn.modules.batchnorm import _BatchNorm


class Tracer(fx.Tracer):
    """Tracer that looks into this package's modules alone; layers of PyTorch and of toolboxes stay whole."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return not (isinstance(module, nn.Sequential) or module.__module__.startswith('res2net_mm.'))


class FusedConv(nn.Module):
    """A convolution with bias, then an addition and a ReLU, if they are asked for.

    On a CPU, in float32, this is one call of oneDNN, with the weights in the order that it wants for the first input.

    Args:
        conv (nn.Conv2d): The convolution, in eval mode; its batch norm's part is added by ``fold``.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        bias = conv.weight.new_zeros(len(conv.weight)) if conv.bias is None else conv.bias.detach()
        self.register_buffer('weight', conv.weight.detach())
        self.register_buffer('bias', bias)
        self.relu = False
        self.overwrites_addend = False
        self.packed: Tensor | None = None

    def fold(self, bn: _BatchNorm) -> None:
        """Take in the batch norm that follows; in double precision, so that nothing is lost."""
        scale = bn.running_var.double().add(bn.eps).rsqrt()
        scale = scale if bn.weight is None else scale * bn.weight.detach().double()
        shift = 0 if bn.bias is None else bn.bias.detach().double()
        dtype = self.weight.dtype
        self.weight = (self.weight.double() * scale[:, None, None, None]).to(dtype)
        self.bias = ((self.bias.double() - bn.running_mean.double()) * scale + shift).to(dtype)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """Convolve.

        Args:
            x (Tensor): (n, in_channels, h, w).
            addend (Tensor | None): (n, out_channels, h', w'), what is added before the ReLU. Defaults to None.

        Returns:
            Tensor: (n, out_channels, h', w').
        """
        if self._has_kernel(x):
            return self._one_pass(x, addend)
        padding, stride, dilation, groups = self.geometry
        out = conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        if addend is not None:
            out += addend
        return out.relu_() if self.relu else out

    def _has_kernel(self, x: Tensor) -> bool:
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        return (not traced and not torch.is_grad_enabled() and x.device.type == 'cpu' and x.dtype == torch.float32
                and torch.backends.mkldnn.is_available())

    def _one_pass(self, x: Tensor, addend: Tensor | None) -> Tensor:
        ops = torch.ops.mkldnn
        if self.packed is None:
            self.packed = ops._reorder_convolution_weight(self.weight, *self.geometry, x.shape)
        relu = 'relu' if self.relu else None
        if addend is None:
            return ops._convolution_pointwise(x, self.packed, self.bias, *self.geometry, relu or 'none', [], '')
        epilogue: tuple[Any, ...] = (self.packed, self.bias, *self.geometry, 'add', 1.0, relu, [], '')
        if self.overwrites_addend:
            return ops._convolution_pointwise_.binary(addend, x, *epilogue)
        return ops._convolution_pointwise.binary(x, addend, *epilogue)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self.packed = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, 'packed': None}  # it has no storage that could be copied

    def extra_repr(self) -> str:
        return f'{tuple(self.weight.shape)}, relu={self.relu}'


def called_module(node: Any, module: fx.GraphModule) -> nn.Module | None:
    """The module that a node calls; None if it calls none, or is no node."""
    return module.get_submodule(node.target) if isinstance(node, fx.Node) and node.op == 'call_module' else None


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that uses a node's output, if there is exactly one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def is_addition(node: fx.Node) -> bool:
    """Whether a node adds two values, without a factor."""
    return node.op == 'call_function' and node.target in (operator.add, operator.iadd, torch.add) and not node.kwargs
