"""Batch norm, addition and ReLU in one pass over memory, on a CPU, forwards and backwards.

The kernels are in ``norm_kernels.cpp``. Every tensor is a matrix (pixels, channels), in float32 or float64, and may be
a slice of a wider one.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Norm:
    """What a batch norm does to a batch: z · scale + shift. All tensors are of shape (channels, )."""

    scale: Tensor
    shift: Tensor
    mean: Tensor
    invstd: Tensor
    statistics: bool  # whether mean and invstd are those of the batch, so that gradients flow through them

    def select(self, channels: slice) -> Norm:
        """What it does to a slice of the channels."""
        return Norm(self.scale[channels], self.shift[channels], self.mean[channels], self.invstd[channels],
                    self.statistics)


@lru_cache(maxsize=None)
def kernels() -> Any:
    """The kernels, compiled when they are first asked for; later processes find them in PyTorch's cache.

    Raises:
        RuntimeError: If there is no C++ compiler, or no ninja.
    """
    from torch.utils.cpp_extension import load
    load('res2net_mm_norm_kernels', [str(Path(__file__).with_suffix('.cpp'))], is_python_module=False,
         extra_cflags=['-O3', '-march=native', '-fopenmp', '-fno-math-errno', '-fno-trapping-math'])
    return torch.ops.res2net_mm


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
    """
    out = torch.empty(z.shape, dtype=z.dtype) if out is None else out
    kernels().normalise(z, norm.scale, norm.shift, out, addend, relu_first, relu_last)
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
    """
    out = torch.empty(z.shape, dtype=z.dtype) if out is None else out
    grad_addend = None if addend is None else torch.empty(z.shape, dtype=z.dtype)
    affine = kernels().normalise_backward(grad, grad2, addend, relu, z, norm.scale, norm.shift, norm.mean, norm.invstd,
                                          norm.statistics, grad_addend, out)
    return out, affine, grad_addend
