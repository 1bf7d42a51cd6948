"""One convolution kernel for NVIDIA GPUs, written in Triton.

It has the channels of a pixel together (NHWC) and leaves no pass over memory but its own: it adds a second input while
it reads the first, adds bias and shortcut and takes the ReLU while it writes, reads from and writes into slices of the
channels of larger tensors, and writes a part of its channels a second time where another tensor needs them, too.
"""
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from triton.testing import do_bench_cudagraph

from ..fused_conv import FusedConv
from ..geometry import convolved_size
from ..graph import whole

if TYPE_CHECKING:
    from typing import TypeGuard  # from Python 3.10 on

LEAST_CHANNELS = 8  # of an input; fewer, an image's, would leave most of a tensor core idle


def tile_config(pixels: int, channels: int, steps: int, warps: int, stages: int) -> triton.Config:
    """A tile of pixels × output channels, input channels of a step, warps, steps that are read ahead."""
    tile = dict(block_m=pixels, block_n=channels, block_k=steps)
    return triton.Config(tile, num_warps=warps, num_stages=stages)


CONFIGS = [
    tile_config(64, 32, 32, 4, 4),
    tile_config(128, 32, 32, 4, 4),
    tile_config(128, 32, 32, 4, 1),  # not read ahead: loads go through the L1 cache, where the taps of a 3×3 overlap
    tile_config(128, 64, 32, 4, 1),
    tile_config(64, 64, 32, 4, 3),
    tile_config(64, 64, 64, 4, 4),
    tile_config(128, 64, 64, 4, 3),
    tile_config(64, 128, 64, 4, 4),
    tile_config(128, 128, 64, 8, 3),
    tile_config(128, 256, 64, 8, 3),
    tile_config(32, 64, 128, 4, 3),  # few pixels: a small image's last stage
]


def prune_tiles(configs: list[triton.Config], arguments: dict[str, Any], in_channels: int, out_channels: int,
                kernel: int, **others: int) -> list[triton.Config]:
    """The tiles worth trying.

    They are of about the size of the problem, and small in float32, which has no tensor cores.

    Args:
        configs (list[triton.Config]): All tiles.
        arguments (dict): The kernel's arguments by name; of interest are ``size`` and the input ``x``.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel (int): Side of the convolution's window.
        **others (int): The other constants of a layer, which Triton passes to every such function.

    Returns:
        list[triton.Config]: At least one of the tiles.
    """
    pixels, outs, ins = 2**arguments['size'], triton.next_power_of_2(out_channels), triton.next_power_of_2(in_channels)
    if arguments['x'].dtype == torch.float32:
        outs, ins = min(outs, 64), min(ins, 32)

    def is_sensible(tile: triton.Config) -> bool:
        m, n, k = (tile.kwargs[side] for side in ('block_m', 'block_n', 'block_k'))
        return (m <= max(pixels, 64) and (m >= 64 or pixels <= 4096) and min(outs, 64) <= n <= max(outs, 32)
                and k <= max(ins, 32) and (tile.num_stages > 1 or kernel > 1))

    return list(filter(is_sensible, configs))


SIZES = ['pixels', 'height', 'width', 'out_height', 'out_width', 'size']  # any, without compiling anew
LAYER = ['x_step', 'in_channels', 'out_channels', 'kernel', 'stride', 'padding', 'dilation']


# Triton takes annotations for types of its own, so that most arguments have none.
@triton.jit(do_not_specialize=SIZES)
def conv_kernel(x, x2, weight, bias, addend, out, copy,  # type: ignore[no-untyped-def]
                pixels, height, width, out_height, out_width, size,
                x_step: tl.constexpr, x2_step: tl.constexpr, addend_step: tl.constexpr, out_step: tl.constexpr,
                copy_step: tl.constexpr, copy_start: tl.constexpr, copy_stop: tl.constexpr,
                in_channels: tl.constexpr, out_channels: tl.constexpr, kernel: tl.constexpr, stride: tl.constexpr,
                padding: tl.constexpr, dilation: tl.constexpr, relu: tl.constexpr,
                block_m: tl.constexpr, block_n: tl.constexpr, block_k: tl.constexpr):
    """A tile of relu(conv(x + x2) + bias + addend).

    It is a product of matrices, output pixels × (taps · input channels) and (taps · input channels) × output channels,
    whose left one is gathered from the input as it is needed.

    The channels from ``copy_start`` to ``copy_stop`` go into ``copy`` as well.

    ``*_step`` are the elements from a pixel to the next; ``size`` is a key of the tuner only. Tiles of the same pixels
    follow one another, so that their input is in the L2 cache; the weights all are.
    """
    tiles: tl.constexpr = (out_channels + block_n - 1) // block_n
    m = tl.program_id(0) // tiles * block_m + tl.arange(0, block_m)
    n = tl.program_id(0) % tiles * block_n + tl.arange(0, block_n)
    top = m // out_width % out_height * stride - padding
    left = m % out_width * stride - padding
    first = (m // (out_height * out_width) * height + top) * width + left  # pixel of the input under the first tap

    chunks: tl.constexpr = (in_channels + block_k - 1) // block_k
    total = tl.zeros((block_m, block_n), tl.float32)
    for step in range(kernel * kernel * chunks):
        tap = step // chunks if kernel > 1 else 0
        c = step % chunks * block_k + tl.arange(0, block_k)
        down = tap // kernel * dilation
        right = tap % kernel * dilation
        inside = (m < pixels) & (top + down >= 0) & (top + down < height) & (left + right >= 0) & (left + right < width)
        exists = c < in_channels
        read = inside[:, None] & exists[None, :]
        pixel = (first + down * width + right).to(tl.int64)[:, None]
        a = tl.load(x + pixel * x_step + c[None, :], read, 0.)
        if x2 is not None:
            a += tl.load(x2 + pixel * x2_step + c[None, :], read, 0.)
        row = (tap * in_channels + c)[:, None]
        b = tl.load(weight + row * out_channels + n[None, :], exists[:, None] & (n < out_channels)[None, :], 0.)
        total = tl.dot(a, b, total, input_precision='ieee')

    written = (m < pixels)[:, None] & (n < out_channels)[None, :]
    pixel = m.to(tl.int64)[:, None]
    total += tl.load(bias + n, n < out_channels, 0.).to(tl.float32)[None, :]
    if addend is not None:
        total += tl.load(addend + pixel * addend_step + n[None, :], written, 0.).to(tl.float32)
    if relu:
        total = tl.maximum(total, 0., propagate_nan=tl.PropagateNan.ALL)
    result = total.to(out.dtype.element_ty)
    tl.store(out + pixel * out_step + n[None, :], result, written)
    if copy is not None:
        copied = written & ((n >= copy_start) & (n < copy_stop))[None, :]
        tl.store(copy + pixel * copy_step + (n - copy_start)[None, :], result, copied)


COMPILED = isinstance(conv_kernel, triton.JITFunction)  # TRITON_INTERPRET=1 has NumPy run it on a CPU, tile by tile
tuned_kernel = triton.autotune(CONFIGS if COMPILED else [tile_config(64, 256, 256, 4, 1)], key=[*LAYER, 'size'],
                               prune_configs_by=dict(early_config_prune=prune_tiles),
                               do_bench=partial(do_bench_cudagraph, rep=2))(conv_kernel)  # ms, ten times


class KernelConv(nn.Module):
    """A call of the kernel, with the weights in its order.

    Args:
        conv (FusedConv): The convolution, for which ``fits_kernel`` holds.
    """

    def __init__(self, conv: FusedConv) -> None:
        super().__init__()
        self.relu = conv.relu
        self.out_channels, self.in_channels = conv.weight.shape[:2]
        self.geometry = square_geometry(conv)
        self.register_buffer('weight', conv.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous())
        self.register_buffer('bias', conv.bias)

    def forward(self, x: Tensor, addend: Tensor | None = None, x2: Tensor | None = None, out: Tensor | None = None,
                copy: Tensor | None = None, copy_start: int = 0) -> Tensor:
        """relu(conv(x + x2) + addend), of tensors in channels_last or of slices of their channels.

        Args:
            x (Tensor): (n, in_channels, h, w).
            addend (Tensor | None): (n, out_channels, h', w'), what is added before the ReLU. Defaults to None.
            x2 (Tensor | None): What is added to x, of its shape. Defaults to None.
            out (Tensor | None): (n, out_channels, h', w'), where the result goes. Defaults to None: a new tensor.
            copy (Tensor | None): (n, c, h', w'), where c of the result's channels go, too. Defaults to None.
            copy_start (int): The first of these channels. Defaults to 0.

        Returns:
            Tensor: (n, out_channels, h', w').

        Raises:
            ValueError: If a tensor has another shape, type or device, or ``out`` or ``copy`` is neither in
                channels_last nor a slice of the channels of such a tensor.
        """
        out = empty_output(x, self.out_channels, *self.geometry) if out is None else out
        before = (len(x), self.in_channels, *x.shape[2:])
        after = (len(x), self.out_channels, *output_sides(x, *self.geometry))
        copied = 0 if copy is None else copy.shape[1]
        if not 0 <= copy_start <= copy_start + copied <= self.out_channels:
            raise ValueError(f'KernelConv: there are no channels {copy_start} to {copy_start + copied} to copy among '
                             f'{self.out_channels}')
        check_tensors('KernelConv', self.weight, dict(x=(x, before), x2=(x2, before), addend=(addend, after)))
        check_tensors('KernelConv', self.weight, dict(out=(out, after), copy=(copy, (len(x), copied, *after[2:]))),
                      written=True)
        pixels = after[0] * after[2] * after[3]
        if pixels:
            (x, x_step), (x2, x2_step), (addend, addend_step), (_, out_step), (_, copy_step) = map(
                as_pixels, (x, x2, addend, out, copy))
            kernel, stride, padding, dilation = self.geometry
            tuned_kernel[lambda tile: (count_programs(pixels, self.out_channels, tile), )](
                x, x2, self.weight, self.bias, addend, out, copy, pixels, *before[2:], *after[2:],
                (pixels - 1).bit_length(), x_step=x_step, x2_step=x2_step, addend_step=addend_step,
                out_step=out_step, copy_step=copy_step, copy_start=copy_start, copy_stop=copy_start + copied,
                in_channels=self.in_channels, out_channels=self.out_channels,
                kernel=kernel, stride=stride, padding=padding, dilation=dilation, relu=self.relu)
        return out

    def extra_repr(self) -> str:
        return f'{self.in_channels}, {self.out_channels}, geometry={self.geometry}, relu={self.relu}'


def fits_kernel(conv: nn.Module | None) -> TypeGuard[FusedConv]:
    """Whether a convolution can be run by the kernel."""
    if not isinstance(conv, FusedConv):
        return False
    *sides, groups = conv.geometry
    return (groups == 1 and conv.weight.shape[1] >= LEAST_CHANNELS
            and all(len(set(pair)) == 1 for pair in (*sides, conv.weight.shape[2:])))


def square_geometry(conv: FusedConv) -> tuple[int, int, int, int]:
    """Kernel size, stride, padding and dilation of a convolution that has the same on both sides."""
    (padding, _), (stride, _), (dilation, _), _ = conv.geometry
    return conv.weight.shape[-1], stride, padding, dilation


@whole
def empty_output(x: Tensor, channels: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """A new tensor in channels_last, of the shape of a convolution's output for the input x."""
    return new_feature_map(x, (len(x), channels, *output_sides(x, kernel, stride, padding, dilation)))


def new_feature_map(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A new tensor of a shape, in channels_last, of the type and on the device of x."""
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def check_tensors(what: str, like: Tensor, tensors: dict[str, tuple[Tensor | None, tuple[int, ...]]],
                  written: bool = False) -> None:
    """Refuse tensors that a kernel would read or write beyond, or that it would take for something else.

    Args:
        what (str): Whose tensors, for the message.
        like (Tensor): A tensor of the type and on the device that they must have.
        tensors (dict[str, tuple[Tensor | None, tuple[int]]]): For each name the tensor, if any, and its shape.
        written (bool): Whether they are written to, so that a copy in another layout would not do. Defaults to False.

    Raises:
        ValueError: Naming the tensor and what is wrong with it.
    """
    for name, (tensor, wanted) in tensors.items():
        if tensor is None:
            continue
        if tensor.shape != wanted:
            raise ValueError(f'{what}: {name} has the shape {tuple(tensor.shape)}, not {wanted}')
        if (tensor.dtype, tensor.device) != (like.dtype, like.device):
            raise ValueError(f'{what}: {name} is {tensor.dtype} on {tensor.device}, and not {like.dtype} on '
                             f'{like.device}')
        if written and as_pixels(tensor)[0] is not tensor:
            raise ValueError(f'{what}: {name} has the strides {tensor.stride()}; it must be in channels_last, or a '
                             'slice of the channels of such a tensor')


def output_sides(x: Tensor, *geometry: int) -> tuple[int, int]:
    """Height and width of a convolution's output for the input x; the geometry is that of ``square_geometry``."""
    kernel, stride, padding, dilation = ((side, side) for side in geometry)
    return convolved_size(x.shape[2:], kernel, padding, stride, dilation)


def as_pixels(x: Tensor | None) -> tuple[Tensor | None, int]:
    """A tensor whose pixels are evenly apart, a copy if need be, and the elements between two pixels."""
    if x is None:
        return None, 0
    n, channels, height, width = x.shape
    sides = [(width, x.stride(3), 1), (height, x.stride(2), width), (n, x.stride(0), height * width)]
    step = next((stride // pixels for size, stride, pixels in sides if size > 1), channels)
    if x.stride(1) == 1 and all(size == 1 or stride == pixels * step for size, stride, pixels in sides):
        return x, step
    return x.contiguous(memory_format=torch.channels_last), channels


def count_programs(pixels: int, channels: int, tile: dict[str, int]) -> int:
    """The number of tiles that cover an output."""
    return triton.cdiv(pixels, tile['block_m']) * triton.cdiv(channels, tile['block_n'])
