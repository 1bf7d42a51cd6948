"""The sizes of feature maps."""
from __future__ import annotations

from typing import Sequence


def convolved_size(size: Sequence[int], kernel: Sequence[int], padding: Sequence[int], stride: Sequence[int],
                   dilation: Sequence[int]) -> tuple[int, int]:
    """Height and width of a convolution's output, of those of its input; every argument is for height and width."""
    return ((size[0] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1,
            (size[1] + 2 * padding[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1)
