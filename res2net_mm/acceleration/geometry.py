"""The sizes of feature maps."""
from __future__ import annotations

from typing import Sequence


def convolved_size(size: Sequence[int], kernel: Sequence[int], padding: Sequence[int], stride: Sequence[int],
                   dilation: Sequence[int]) -> tuple[int, int]:
    """Height and width of a convolution's output, of those of its input; every argument is for height and width."""
    return ((size[0] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1,
            (size[1] + 2 * padding[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1)


def as_pair(value: int | Sequence[int]) -> tuple[int, int]:
    """A size of a layer as PyTorch allows to give it, for height and width."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])
