"""Max and average pooling for NVIDIA GPUs, written in Triton.

Like the convolution of ``kernel.py`` it has the channels of a pixel together (NHWC), and reads from and writes into
slices of the channels of larger tensors: a stage block's last split is pooled straight into the concatenation.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from torch import Tensor, nn

from ..graph import is_untouched
from .kernel import as_pixels, check_tensors, new_feature_map

if TYPE_CHECKING:
    from typing import TypeGuard  # from Python 3.10 on

BLOCK = 1024  # values of a program: 16 bytes of 16-bit values for each thread of 4 warps


@triton.jit(do_not_specialize=['pixels', 'height', 'width', 'out_height', 'out_width'])
def pool_kernel(x, out, pixels, height, width, out_height, out_width,  # type: ignore[no-untyped-def]
                x_step: tl.constexpr, out_step: tl.constexpr, channels: tl.constexpr, kernel: tl.constexpr,
                stride: tl.constexpr, padding: tl.constexpr, maximum: tl.constexpr, count_padding: tl.constexpr,
                block_m: tl.constexpr, block_n: tl.constexpr):
    """A block of output pixels and channels: the maximum or the mean under a window.

    ``*_step`` are the elements from a pixel to the next.
    """
    m = tl.program_id(0) * block_m + tl.arange(0, block_m)
    n = tl.program_id(1) * block_n + tl.arange(0, block_n)
    top = m // out_width % out_height * stride - padding
    left = m % out_width * stride - padding
    first = (m // (out_height * out_width) * height + top) * width + left  # pixel of the input under the first tap
    nothing = float('-inf') if maximum else 0.
    total = tl.full((block_m, block_n), nothing, tl.float32)
    count = tl.zeros((block_m, ), tl.float32)
    for tap in tl.static_range(kernel * kernel):
        down = tap // kernel
        right = tap % kernel
        inside = (m < pixels) & (top + down >= 0) & (top + down < height) & (left + right >= 0) & (left + right < width)
        pixel = (first + down * width + right).to(tl.int64)[:, None]
        value = tl.load(x + pixel * x_step + n[None, :], inside[:, None] & (n < channels)[None, :], nothing)
        if maximum:
            total = tl.maximum(total, value.to(tl.float32), propagate_nan=tl.PropagateNan.ALL)
        else:
            total += value.to(tl.float32)
            count += inside.to(tl.float32)
    if not maximum:
        total = total / (kernel * kernel if count_padding else count[:, None])
    written = (m < pixels)[:, None] & (n < channels)[None, :]
    tl.store(out + m.to(tl.int64)[:, None] * out_step + n[None, :], total.to(out.dtype.element_ty), written)


class KernelPool(nn.Module):
    """A call of the kernel.

    Args:
        pool (nn.AvgPool2d | nn.MaxPool2d): The layer, for which ``fits_pooling`` holds.
    """

    def __init__(self, pool: nn.AvgPool2d | nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """The pooled feature map, of tensors in channels_last or of slices of their channels.

        Args:
            x (Tensor): (n, c, h, w).
            out (Tensor | None): (n, c, h', w'), where the result goes. Defaults to None: a new tensor.

        Returns:
            Tensor: (n, c, h', w').

        Raises:
            ValueError: If ``out`` has another shape, type or device, or is neither in channels_last nor a slice of the
                channels of such a tensor.
        """
        shape = tuple(self.pool(x.new_empty(x.shape, device='meta')).shape)  # PyTorch's own rule, ceil_mode included
        out = new_feature_map(x, shape) if out is None else out
        check_tensors('KernelPool', x, dict(out=(out, shape)), written=True)
        channels, pixels = shape[1], shape[0] * shape[2] * shape[3]
        if pixels:
            (x, x_step), (_, out_step) = as_pixels(x), as_pixels(out)
            block_n = min(triton.next_power_of_2(channels), 128)
            block_m = BLOCK // block_n
            maximum = isinstance(self.pool, nn.MaxPool2d)
            pool_kernel[triton.cdiv(pixels, block_m), triton.cdiv(channels, block_n)](
                x, out, pixels, *x.shape[2:], *shape[2:], x_step=x_step, out_step=out_step, channels=channels,
                kernel=side(self.pool.kernel_size), stride=side(self.pool.stride), padding=side(self.pool.padding),
                maximum=maximum, count_padding=not maximum and self.pool.count_include_pad,
                block_m=block_m, block_n=block_n)
        return out


def side(size: int | tuple[int, int]) -> int:
    """The one number of a size that is the same on both sides; -1 for another."""
    return size if isinstance(size, int) else size[0] if len(set(size)) == 1 else -1


def fits_pooling(layer: nn.Module | None) -> TypeGuard[nn.AvgPool2d | nn.MaxPool2d]:
    """Whether a layer is a pooling that the kernel can run."""
    if not isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)) or not is_untouched(layer):
        return False
    if min(side(layer.kernel_size), side(layer.stride), side(layer.padding) + 1) < 1:
        return False
    if isinstance(layer, nn.MaxPool2d):
        return side(layer.dilation) == 1 and not layer.return_indices
    # PyTorch counts a window's padding only up to the padded border, which matters where a window hangs over it.
    return layer.divisor_override is None and not (layer.ceil_mode and layer.count_include_pad)
