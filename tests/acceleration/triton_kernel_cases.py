"""The convolution kernel in Triton's interpreter, on the CPU; ``test_triton_interpreter.py`` runs this."""
import copy
import itertools

import pytest
import torch
from helpers import channels_last, relative_error
from torch import nn

from res2net_mm.acceleration.fused_conv import FusedConv
from res2net_mm.acceleration.triton.kernel import CONFIGS, KernelConv, tuned_kernel
from res2net_mm.acceleration.triton.pooling import KernelPool, fits_pooling

GEOMETRIES = {
    '1×1': dict(kernel_size=1),
    '1×1, stride 2': dict(kernel_size=1, stride=2),
    '3×3': dict(kernel_size=3, padding=1),
    '3×3, stride 2': dict(kernel_size=3, padding=1, stride=2),
    '3×3, dilation 2': dict(kernel_size=3, padding=2, dilation=2),
    '3×3, no padding': dict(kernel_size=3),
    '7×7, stride 2': dict(kernel_size=7, padding=3, stride=2),
}


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles of pixels and of channels, and several steps."""
    monkeypatch.setattr(tuned_kernel, 'configs', CONFIGS[:1])


def kernel_of(in_channels, out_channels, relu=True, dtype=torch.float32, **geometry):
    """The same convolution as the kernel and as a function of PyTorch, in double precision."""
    conv = nn.Conv2d(in_channels, out_channels, **geometry).to(dtype)
    fused = FusedConv(conv, relu=relu)

    def plain(x, addend=0, x2=0):
        out = conv.double()(x.double() + x2) + addend
        return out.relu() if relu else out

    return KernelConv(fused), plain


@pytest.mark.parametrize('geometry, channels', [
    *((geometry, (26, 26)) for geometry in GEOMETRIES), ('1×1', (52, 14)), ('3×3', (52, 14)), ('3×3', (104, 6)),
    ('3×3', (32, 40)), ('3×3', (14, 14)), ('1×1', (6, 14))])
def test_kernel(geometry, channels, small_tiles):
    kernel, plain = kernel_of(*channels, **GEOMETRIES[geometry])
    x = channels_last(2, channels[0], 9, 8)
    out = kernel(x)
    assert out.is_contiguous(memory_format=torch.channels_last) and relative_error(out, plain(x)) < 1e-6


@pytest.mark.parametrize('with_addend, with_x2, relu', itertools.product([True, False], repeat=3))
def test_what_it_adds(with_addend, with_x2, relu):
    kernel, plain = kernel_of(26, 52, relu, kernel_size=3, padding=1)
    x = channels_last(2, 26, 5, 7)
    more = dict(addend=channels_last(2, 52, 5, 7) if with_addend else None,
                x2=channels_last(2, 26, 5, 7) if with_x2 else None)
    before = copy.deepcopy([x, more])
    out = kernel(x, **more)
    assert relative_error(out, plain(x, **{name: value for name, value in more.items() if value is not None})) < 1e-6
    assert (out.min() >= 0) == relu
    assert str(before) == str([x, more])


def test_slices_of_channels():
    """Everything that is read or written is a slice of a larger tensor, and nothing else of that is touched."""
    kernel, plain = kernel_of(26, 14, kernel_size=3, padding=1, stride=2)
    wide = channels_last(2, 104, 9, 10)
    x, x2, addend = wide[:, 26:52], channels_last(2, 60, 9, 10)[:, 3:29], channels_last(2, 20, 5, 5)[:, 5:19]
    whole = torch.full((2, 40, 5, 5), 7.).contiguous(memory_format=torch.channels_last)
    before = wide.clone()
    out = kernel(x, addend, x2, out=whole[:, 13:27])
    assert out.data_ptr() == whole[:, 13:27].data_ptr()
    assert relative_error(whole[:, 13:27], plain(x, addend, x2)) < 1e-6
    assert (whole[:, :13] == 7).all() and (whole[:, 27:] == 7).all() and torch.equal(wide, before)


@pytest.mark.parametrize('name, x', {
    'contiguous': torch.randn(2, 16, 4, 5),
    'one pixel': torch.randn(3, 16, 1, 1),
    'one column': channels_last(2, 40, 4, 1)[:, 8:24],
    'every other row': channels_last(2, 16, 8, 5)[:, :, ::2],
    'no image': channels_last(0, 16, 4, 5),
}.items())
def test_other_layouts(name, x):
    kernel, plain = kernel_of(16, 8, kernel_size=3, padding=1)
    assert torch.allclose(kernel(x).double(), plain(x), atol=1e-5)


def test_in_16_bits(dtype=torch.float16):  # the interpreter cannot add in bfloat16: tests/test_cuda.py
    kernel, plain = kernel_of(32, 24, dtype=dtype, kernel_size=3, padding=1)
    x, x2, addend = (channels_last(2, c, 5, 4, dtype=dtype) for c in (32, 32, 24))
    out = kernel(x, addend, x2)
    assert out.dtype == dtype and relative_error(out, plain(x, addend, x2)) < 1e-2


def test_not_a_number_remains():
    kernel, _ = kernel_of(16, 8, kernel_size=1)
    x = channels_last(1, 16, 2, 2)
    x[0, 0, 0, 0] = float('nan')
    assert kernel(x).isnan().sum() == 8


def test_wrong_shapes():
    kernel, _ = kernel_of(16, 8, kernel_size=3, padding=1)
    x = channels_last(2, 16, 4, 4)
    out = channels_last(2, 8, 4, 4)
    for name, value in dict(x=x[:, :8], x2=x[:1], addend=x, out=channels_last(2, 8, 5, 4)).items():
        with pytest.raises(ValueError, match=f'KernelConv: {name} has the shape'):
            kernel(**{'x': x, name: value})
    for name, value in dict(x=x.double(), x2=x.half(), addend=out.double(), out=out.half()).items():
        with pytest.raises(ValueError, match=f'KernelConv: {name} is torch'):
            kernel(**{'x': x, name: value})


@pytest.mark.parametrize('out', [torch.empty(2, 8, 4, 4), channels_last(2, 8, 8, 4)[:, :, ::2],
                                 channels_last(1, 8, 4, 4).expand(2, -1, -1, -1)], ids=['NCHW', 'rows', 'expanded'])
def test_an_output_that_would_be_copied(out):
    kernel, _ = kernel_of(16, 8, kernel_size=3, padding=1)
    with pytest.raises(ValueError, match='KernelConv: out has the strides .*must be in channels_last'):
        kernel(channels_last(2, 16, 4, 4), out=out)


def test_a_part_of_the_channels_goes_into_another_tensor(small_tiles):
    conv, x = kernel_of(16, 40, kernel_size=3, padding=1)[0], channels_last(2, 16, 5, 6)
    whole = channels_last(2, 64, 5, 6)
    before = whole.clone()
    out = conv(x, copy=whole[:, 8:24], copy_start=24)
    assert torch.equal(whole[:, 8:24], out[:, 24:40])
    assert torch.equal(whole[:, :8], before[:, :8]) and torch.equal(whole[:, 24:], before[:, 24:])
    with pytest.raises(ValueError, match='there are no channels 32 to 48 to copy among 40'):
        conv(x, copy=whole[:, 8:24], copy_start=32)
    with pytest.raises(ValueError, match=r'copy has the shape \(2, 16, 4, 6\)'):
        conv(x, copy=whole[:, 8:24, 1:])


POOLS = {
    'stem': nn.MaxPool2d(3, 2, 1), 'split': nn.AvgPool2d(3, 2, 1), 'split of stride 1': nn.AvgPool2d(3, 1, 1),
    'without padding': nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    'shortcut': nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), 'ceil': nn.MaxPool2d(3, 2, ceil_mode=True),
}


@pytest.mark.parametrize('name', POOLS)
@pytest.mark.parametrize('size', [(2, 24, 7, 9), (1, 130, 6, 4), (0, 8, 4, 4)])
def test_pooling(name, size):
    """As PyTorch's, from and into slices of channels, not-a-number and infinity included."""
    pool, x = POOLS[name], channels_last(*size)
    if x.numel():
        x[0, 0, 1, 1], x[0, 1, 2, 2] = float('nan'), float('inf')
    wanted = pool(x)
    assert fits_pooling(pool)
    out = KernelPool(pool)(x)
    assert out.shape == wanted.shape and torch.allclose(out, wanted, rtol=1e-6, equal_nan=True)
    n, c, h, w = wanted.shape
    wide, whole = channels_last(size[0], size[1] + 16, *size[2:]), channels_last(n, c + 24, h, w)
    wide[:, 8:-8], before = x, whole.clone()
    KernelPool(pool)(wide[:, 8:-8], out=whole[:, 8:-16])
    assert torch.allclose(whole[:, 8:-16], wanted, rtol=1e-6, equal_nan=True)
    assert torch.equal(whole[:, :8], before[:, :8]) and torch.equal(whole[:, -16:], before[:, -16:])
    with pytest.raises(ValueError, match='KernelPool: out has the shape'):
        KernelPool(pool)(x, out=whole)


@pytest.mark.parametrize('layer', [
    nn.AvgPool2d((3, 2)), nn.AvgPool2d(3, divisor_override=2), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(2, return_indices=True), nn.Identity(), None])
def test_other_poolings_stay(layer):
    assert not fits_pooling(layer)
