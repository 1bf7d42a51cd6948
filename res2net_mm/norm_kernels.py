"""Batch norm, addition and ReLU in one pass over memory, forwards and backwards.

Of every channel a norm is ``z * scale + shift``. Every tensor is a matrix (pixels, channels), and may be a slice of a
wider one. On a CPU the kernels of ``norm_kernels.cpp`` do this, compiled when they are first asked for; elsewhere, and
where nothing can be compiled, PyTorch's operators do the same in several passes.
"""
import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch


class Norm(NamedTuple):
    """A batch norm at work on a batch: what it does to every channel, all of shape (channels, )."""

    scale: torch.Tensor
    shift: torch.Tensor
    mean: torch.Tensor
    invstd: torch.Tensor
    statistics: bool  # whether mean and invstd are those of the batch, so that gradients flow through them

    def of(self, channels):
        """The part of a slice of the channels."""
        return Norm(*(tensor[channels] for tensor in self[:4]), self.statistics)


@lru_cache
def compiled():
    """The compiled kernels; None, with a warning, if they cannot be compiled here. Takes half a minute once."""
    from torch.utils.cpp_extension import load
    try:
        load('res2net_mm_norm_kernels', [str(Path(__file__).with_suffix('.cpp'))], is_python_module=False,
             extra_cflags=['-O3', '-march=native', '-fopenmp', '-fno-trapping-math', '-fno-math-errno'])
    except (RuntimeError, OSError) as error:
        warnings.warn(f'No fast batch norms: they need a C++ compiler and ninja ({str(error).splitlines()[0]})')
        return None
    return torch.ops.res2net_mm


def kernels_for(z):
    return compiled() if z.device.type == 'cpu' else None


def moments(z):
    """Mean and biased variance of every channel, (2, channels)."""
    kernels = kernels_for(z)
    if kernels:
        return kernels.moments(z)
    variance, mean = torch.var_mean(z, 0, correction=0)
    return torch.stack([mean, variance])


def normalise(z, norm, out=None, addend=None, relu_first=False, relu_last=False):
    """norm(z), then a ReLU, an addition, or an addition and a ReLU.

    Args:
        z (Tensor): (pixels, channels).
        norm (Norm): What to do.
        out (Tensor | None): Where the result goes, of z's shape. Defaults to None: a new tensor.
        addend (Tensor | None): What is added, of z's shape. Defaults to None.
        relu_first (bool): Whether a ReLU comes before the addition. Defaults to False.
        relu_last (bool): Whether a ReLU comes after it. Defaults to False.

    Returns:
        Tensor: out.
    """
    out = torch.empty(z.shape, dtype=z.dtype, device=z.device) if out is None else out
    kernels = kernels_for(z)
    if kernels:
        kernels.normalise(z, norm.scale, norm.shift, out, addend, relu_first, relu_last)
        return out
    torch.addcmul(norm.shift, z, norm.scale, out=out)
    if relu_first:
        out.relu_()
    if addend is not None:
        out += addend
    return out.relu_() if relu_last else out


def normalise_backward(grad, z, norm, out=None, relu=False, grad2=None, positive=None):
    """The gradients of a norm and of the ReLU after it.

    Args:
        grad (Tensor): (pixels, channels), the gradient of what the ReLU gives.
        z (Tensor): What went into the norm.
        norm (Norm): The norm.
        out (Tensor | None): Where z's gradient goes. Defaults to None: a new tensor.
        relu (bool): Whether a ReLU followed the norm directly. Defaults to False.
        grad2 (Tensor | None): What is to be added to ``grad``. Defaults to None.
        positive (Tensor | None): What the ReLU gave, if something was added before it. Defaults to None.

    Returns:
        tuple[Tensor, Tensor, Tensor]: The gradients of z and of the norm's bias and weight, (2, channels); and what
        the ReLU leaves of ``grad``, if ``positive`` is given, else ``grad``.
    """
    out = torch.empty(z.shape, dtype=z.dtype, device=z.device) if out is None else out
    kernels = kernels_for(z)
    if kernels:
        masked = None if positive is None else torch.empty(z.shape, dtype=z.dtype)
        sums = kernels.normalise_backward(grad, grad2, positive, relu, z, norm.scale, norm.shift, norm.mean,
                                          norm.invstd, norm.statistics, masked, out)
        return out, sums, grad if masked is None else masked
    grad = grad if grad2 is None else grad + grad2
    if positive is not None or relu:
        grad = torch.where((z * norm.scale + norm.shift if positive is None else positive) > 0, grad, 0)
    standard = (z - norm.mean) * norm.invstd
    sums = torch.stack([grad.sum(0), (grad * standard).sum(0)])
    of_z = grad - (sums[0] + standard * sums[1]) / len(z) if norm.statistics else grad
    torch.mul(of_z, norm.scale, out=out)
    return out, sums, grad
