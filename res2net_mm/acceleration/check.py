"""The comparison of an accelerated module with the plain one."""
from __future__ import annotations

import copy
from typing import Any, Callable

import torch
from torch import Tensor, nn

# What two orders of the same sums may differ by, relative to the size of an output; in 16 bits and in networks that
# magnify roundings it is more, and measured.
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
TIMES_PLAIN = 10  # the plain module's own rounding


def example_images(module: nn.Module) -> Tensor:
    """Random images of a module's number of channels, type and device, on which it can be tried.

    Two, and of different height and width: shapes that can differ do. They do not depend on the state of PyTorch's
    random numbers, nor change it.

    Args:
        module (nn.Module): A backbone, or a head that takes features of regions.

    Returns:
        Tensor: (2, channels, 64, 96); of features (2, channels, 14, 10).

    Raises:
        ValueError: If there is no convolution in the module.
    """
    conv = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    if conv is None:
        raise ValueError(f'{type(module).__name__} has no convolution')
    size = (64, 96) if conv.in_channels <= 16 else (14, 10)
    images = torch.randn(2, conv.in_channels, *size, generator=torch.Generator().manual_seed(0))
    return images.to(conv.weight)


def check_same_function(fast: Callable[[Tensor], Any], plain: nn.Module, images: Tensor) -> None:
    """Compare what two modules return for some images.

    Args:
        fast (Callable): What is to be the same.
        plain (nn.Module): What it is to be the same as.
        images (Tensor): The images.

    Raises:
        RuntimeError: If numbers, shapes or types of the outputs differ, or values by more than rounding.
    """
    wanted, outs = as_list(plain.forward(images.clone())), as_list(fast(images.clone()))
    kinds = [[(tuple(out.shape), out.dtype) for out in side] for side in (outs, wanted)]
    if kinds[0] != kinds[1]:
        raise RuntimeError(f'the outputs are {kinds[0]}, and must be {kinds[1]}')
    errors = [difference(out, want) for out, want in zip(outs, wanted)]
    allowed = [ROUNDING.get(images.dtype, 0.)] * len(wanted)
    if any(error > most for error, most in zip(errors, allowed)) and images.dtype != torch.float64:
        exact = as_list(copy.deepcopy(plain).double().forward(images.double()))
        allowed = [max(most, TIMES_PLAIN * difference(want, out))
                   for most, want, out in zip(allowed, wanted, exact)]
    for i, (error, most) in enumerate(zip(errors, allowed)):
        if not error <= most:
            raise RuntimeError(f'output {i} differs by {error:.1e} of its size; rounding explains {most:.1e}')


def difference(out: Tensor, wanted: Tensor) -> float:
    """How far two tensors are apart, beside the size of the second; infinitely, where only one is a finite number."""
    out, wanted = out.double(), wanted.double()
    finite = wanted.isfinite()
    if not torch.equal(out.isfinite(), finite):
        return float('inf')
    error, size = (out[finite] - wanted[finite]).norm(), wanted[finite].norm()
    return (error / size).item() if size > 0 else error.item()


def as_list(outputs: Any) -> list[Tensor]:
    """The outputs of a module, one or several, as a list.

    Raises:
        ValueError: If they are something else.
    """
    found = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(found, (list, tuple)) or not all(isinstance(out, Tensor) for out in found):
        raise ValueError(f'the outputs are {type(outputs).__name__}, and must be a tensor or several')
    return list(found)
