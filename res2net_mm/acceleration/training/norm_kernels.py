"""Batch norm, addition and ReLU in one pass over memory, on a CPU, forwards and backwards.

The kernels are in ``kernels.cpp``. Every tensor is a matrix (pixels, channels), in float32 or float64, and may be
a slice of a wider one; the kernels check that what they are given fits together.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import BatchNorm2d

from .kernels import kernels


@dataclass(frozen=True)
class Norm:
    """What a batch norm does to a batch: z · scale + shift.

    It is made of copies: what happens to a norm's weights and running statistics later does not reach it.
    """

    vectors: Tensor  # (4, channels): scale, shift, mean, 1 / standard deviation
    statistics: bool  # whether the last two are those of the batch, so that gradients flow through them

    def select(self, channels: slice) -> Norm:
        """What it does to a slice of the channels."""
        return Norm(self.vectors[:, channels], self.statistics)


def moments(z: Tensor) -> Tensor:
    """Mean and biased variance of every channel, (2, channels)."""
    return kernels().moments(z)


def normalise(z: Tensor, norm: Norm, out: Tensor | None = None, addend: Tensor | None = None, relu_first: bool = False,
              relu_last: bool = False) -> Tensor:
    """Apply a norm, then a ReLU, an addition, or both.

    Args:
        z (Tensor): (pixels, channels).
        norm (Norm): What to do.
        out (Tensor | None): Where the result goes, of z's shape. Defaults to None: a new tensor.
        addend (Tensor | None): What is added, of z's shape. Defaults to None.
        relu_first (bool): Whether a ReLU comes before the addition. Defaults to False.
        relu_last (bool): Whether a ReLU comes after it; not both. Defaults to False.

    Returns:
        Tensor: out.

    Raises:
        RuntimeError: If a tensor does not fit z.
    """
    out = z.new_empty(z.shape) if out is None else out
    scale, shift = norm.vectors[:2]
    kernels().normalise(z, scale, shift, out, addend, relu_first, relu_last)
    return out


def normalise_backward(grad: Tensor, z: Tensor, norm: Norm, out: Tensor | None = None, relu: bool = False,
                       addend: Tensor | None = None,
                       grad2: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of ``relu(norm(z) + addend)``.

    Args:
        grad (Tensor): (pixels, channels), the gradient of the result.
        z (Tensor): What went into the norm.
        norm (Norm): The norm.
        out (Tensor | None): Where z's gradient goes. Defaults to None: a new tensor.
        relu (bool): Whether there was a ReLU. Defaults to False.
        addend (Tensor | None): What was added before the ReLU; without a ReLU it need not be known. Defaults to None.
        grad2 (Tensor | None): What is to be added to ``grad``; not together with an addend. Defaults to None.

    Returns:
        tuple[Tensor, Tensor, Tensor | None]: The gradients of z, of the norm's bias and weight, (2, channels), and of
        the addend, if one is given.

    Raises:
        RuntimeError: If a tensor does not fit z.
    """
    out = z.new_empty(z.shape) if out is None else out
    grad_addend = None if addend is None else z.new_empty(z.shape)
    affine = kernels().normalise_backward(grad, grad2, addend, relu, z, *norm.vectors, norm.statistics, grad_addend,
                                          out)
    return out, affine, grad_addend


# PyTorch's batch norms.


def batch_norm_tensors(bn: BatchNorm2d) -> list[Tensor]:
    """The tensors of a norm that its outputs depend on, of shape (channels, ): weight, bias, running statistics."""
    running = [] if bn.running_mean is None else [bn.running_mean, bn.running_var]
    return [bn.weight, bn.bias, *running]


def uses_batch_statistics(bn: BatchNorm2d) -> bool:
    """Whether a norm takes mean and variance from the batch, rather than its running ones."""
    return bn.training or bn.running_mean is None


def batch_norm(bn: BatchNorm2d, z: Tensor, weight: Tensor, bias: Tensor) -> Norm:
    """What a batch norm does to a batch (pixels, channels); its running statistics follow, as they do in PyTorch."""
    statistics = uses_batch_statistics(bn)
    mean, variance = moments(z) if statistics else (bn.running_mean, bn.running_var)
    if bn.training and bn.track_running_stats:
        update_running_statistics(bn, mean, variance * (len(z) / (len(z) - 1)))
    invstd = (variance + bn.eps).rsqrt()
    scale = weight * invstd
    return Norm(torch.stack((scale, bias - mean * scale, mean, invstd)), statistics)


def update_running_statistics(bn: BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Count a batch; without a momentum the running statistics are the mean of all batches that are counted."""
    momentum = bn.momentum
    if bn.num_batches_tracked is not None:
        bn.num_batches_tracked.add_(1)
        momentum = 1 / bn.num_batches_tracked.item() if momentum is None else momentum
    momentum = 0.0 if momentum is None else momentum  # nothing counts them
    for running, value in ((bn.running_mean, mean), (bn.running_var, variance)):
        if running is not None:
            # Not a change in place that autograd counts, as in PyTorch's own norm: the backward pass of another call of
            # the same norm would fail, which saved them and does not need them.
            running.data.lerp_(value, momentum)
