"""The Triton backend in Triton's interpreter, on the CPU: tests/test_triton.py runs this with TRITON_INTERPRET=1."""
import copy
import itertools

import pytest
import torch
from helpers import VARIANTS, random_model, relative_error
from torch import nn

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.graph import FusedConv
from res2net_mm.acceleration.passes import rewrite
from res2net_mm.acceleration.triton.kernel import CONFIGS, KernelConv, tuned_kernel
from res2net_mm.acceleration.triton.module import TritonBackbone

LAST = torch.channels_last
GEOMETRIES = {
    '1×1': dict(kernel_size=1),
    '1×1, stride 2': dict(kernel_size=1, stride=2),
    '3×3': dict(kernel_size=3, padding=1),
    '3×3, stride 2': dict(kernel_size=3, padding=1, stride=2),
    '3×3, dilation 2': dict(kernel_size=3, padding=2, dilation=2),
    '3×3, no padding': dict(kernel_size=3),
    '7×7, stride 2': dict(kernel_size=7, padding=3, stride=2),
}


def features(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype).contiguous(memory_format=LAST)


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles of pixels and of channels, and several steps."""
    monkeypatch.setattr(tuned_kernel, 'configs', CONFIGS[:1])


def kernel_of(in_channels, out_channels, relu=True, dtype=torch.float32, **geometry):
    """The same convolution as the kernel and as a function of PyTorch, in double precision."""
    conv = nn.Conv2d(in_channels, out_channels, **geometry).to(dtype)
    fused = FusedConv(conv)
    fused.relu = relu

    def plain(x, addend=0, x2=0):
        out = conv.double()(x.double() + x2) + addend
        return out.relu() if relu else out

    return KernelConv(fused), plain


@pytest.mark.parametrize('geometry, channels', [
    *((geometry, (26, 26)) for geometry in GEOMETRIES), ('1×1', (52, 14)), ('3×3', (52, 14)), ('3×3', (104, 6)),
    ('3×3', (32, 40)), ('3×3', (14, 14)), ('1×1', (6, 14))])
def test_kernel(geometry, channels, small_tiles):
    kernel, plain = kernel_of(*channels, **GEOMETRIES[geometry])
    x = features(2, channels[0], 9, 8)
    out = kernel(x)
    assert out.is_contiguous(memory_format=LAST) and relative_error(out, plain(x)) < 1e-6


@pytest.mark.parametrize('with_addend, with_x2, relu', itertools.product([True, False], repeat=3))
def test_what_it_adds(with_addend, with_x2, relu):
    kernel, plain = kernel_of(26, 52, relu, kernel_size=3, padding=1)
    x = features(2, 26, 5, 7)
    more = dict(addend=features(2, 52, 5, 7) if with_addend else None, x2=features(2, 26, 5, 7) if with_x2 else None)
    given = copy.deepcopy([x, more])
    out = kernel(x, **more)
    assert relative_error(out, plain(x, **{name: value for name, value in more.items() if value is not None})) < 1e-6
    assert (out.min() >= 0) == relu
    assert str(given) == str([x, more])


def test_slices_of_channels():
    """Everything that is read or written is a slice of a larger tensor, and nothing else of that is touched."""
    kernel, plain = kernel_of(26, 14, kernel_size=3, padding=1, stride=2)
    wide = features(2, 104, 9, 10)
    x, x2, addend = wide[:, 26:52], features(2, 60, 9, 10)[:, 3:29], features(2, 20, 5, 5)[:, 5:19]
    whole = torch.full((2, 40, 5, 5), 7.).contiguous(memory_format=LAST)
    before = wide.clone()
    out = kernel(x, addend, x2, out=whole[:, 13:27])
    assert out.data_ptr() == whole[:, 13:27].data_ptr()
    assert relative_error(whole[:, 13:27], plain(x, addend, x2)) < 1e-6
    assert (whole[:, :13] == 7).all() and (whole[:, 27:] == 7).all() and torch.equal(wide, before)


@pytest.mark.parametrize('name, x', {
    'contiguous': torch.randn(2, 16, 4, 5),
    'one pixel': torch.randn(3, 16, 1, 1),
    'one column': features(2, 40, 4, 1)[:, 8:24],
    'every other row': features(2, 16, 8, 5)[:, :, ::2],
    'no image': features(0, 16, 4, 5),
}.items())
def test_other_layouts(name, x):
    kernel, plain = kernel_of(16, 8, kernel_size=3, padding=1)
    assert torch.allclose(kernel(x).double(), plain(x), atol=1e-5)


def test_in_16_bits(dtype=torch.float16):  # the interpreter cannot add in bfloat16: tests/test_cuda.py
    kernel, plain = kernel_of(32, 24, dtype=dtype, kernel_size=3, padding=1)
    x, x2, addend = (features(2, c, 5, 4, dtype=dtype) for c in (32, 32, 24))
    out = kernel(x, addend, x2)
    assert out.dtype == dtype and relative_error(out, plain(x, addend, x2)) < 1e-2


def test_not_a_number_remains():
    kernel, _ = kernel_of(16, 8, kernel_size=1)
    x = features(1, 16, 2, 2)
    x[0, 0, 0, 0] = float('nan')
    assert kernel(x).isnan().sum() == 8


def test_wrong_shapes():
    kernel, _ = kernel_of(16, 8, kernel_size=3, padding=1)
    x = features(2, 16, 4, 4)
    for name, value in dict(x=x[:, :8], x2=x[:1], addend=x, out=x).items():
        with pytest.raises(ValueError, match=f'KernelConv: {name} has the shape'):
            kernel(**{'x': x, name: value})


NETS = {
    **{name: VARIANTS[name] for name in (
        'v1', 'v1b', 'ResNet', 'grouped SE', 'CIFAR', 'output stride 8', 'stem', 'no norms that fold', 'plugins')},
    'DLA': dict(type='res2net_mm.DLA', scales=2, base_width=12),
    'Big-Little': dict(type='res2net_mm.BLRes2Net', scales=2, base_width=12, zero_init_residual=False),
}


@pytest.mark.parametrize('name', NETS)
def test_the_same_function(name):
    plain = random_model(NETS[name])
    before = copy.deepcopy(plain.state_dict())
    fast = accelerate(plain, 'triton')
    images = [torch.randn(1, 3, 32, 32)]
    if name == 'v1':
        images.append(features(3, 3, 33, 47))
    for x in images:
        given = x.clone()
        with torch.no_grad():
            expected, outs = plain(x), fast(x)
        assert torch.equal(x, given) and len(outs) == len(expected)
        for out, wanted in zip(outs, expected):
            assert relative_error(out, wanted) < 1e-5
            assert out.is_contiguous(memory_format=torch.contiguous_format if x.is_contiguous() else LAST)
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
    assert fast.out_channels == plain.out_channels and not fast.training


def test_a_copy_in_float16():
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain, 'triton'), torch.randn(1, 3, 32, 32)
    out = copy.deepcopy(fast).half()(x)[-1]  # in the type of the weights
    assert out.dtype == torch.float16 and relative_error(out.float(), plain(x)[-1]) < 1e-2


def test_what_is_left():
    """Of a real Res2Net: every tensor that the kernel reads or writes starts 16 bytes apart, and no pass is left."""
    fast = accelerate(random_model(dict(type='res2net_mm.Res2Net', depth=26)), 'triton')
    kernels = [module for module in fast.modules() if isinstance(module, KernelConv)]
    assert len(kernels) == 8 * 5 + 4
    assert {kernel.in_channels for kernel in kernels} >= {32, 56, 104, 208} and {4 * 32, 4 * 56} <= {
        kernel.out_channels for kernel in kernels}
    assert all(kernel.in_channels % 8 == kernel.out_channels % 8 == 0 for kernel in kernels)
    graph = fast.module.graph
    names = [getattr(node.target, '__name__', node.target) for node in graph.nodes if node.op.startswith('call_f')]
    assert {name: names.count(name) for name in set(names)} == dict(
        getitem=8 * 4, empty_after=8, channels_of=8 * 3, fill=8, in_layout_of=4)
    added = [sorted(node.kwargs) for node in graph.nodes if node.op == 'call_module' and 'convs' in node.target]
    assert added == ([['out']] * 3 + [['out']] + [['out', 'x2']] * 2) * 4


def test_narrow_splits():
    """14 channels of 14w8s are filled up, too: all but the stem and the pools is the kernel's."""
    with torch.device('meta'):
        plain = Res2Net(depth=26, arch='res2net50_14w8s')
    fast = accelerate(plain.to_empty(device='cpu'), 'triton')
    convs = [module for module in fast.modules() if isinstance(module, (KernelConv, FusedConv))]
    assert [type(conv) for conv in convs] == [FusedConv] + [KernelConv] * (len(convs) - 1)
    assert fast.module.get_submodule('layer1.0.conv1').out_channels == 8 * 16


def test_a_sum_that_is_used_twice():
    class Net(nn.Module):
        out_channels = (16, )

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(16, 16, 1)
            self.second = nn.Conv2d(16, 16, 1)

        def forward(self, x):
            total = x + self.first(x).sigmoid()
            return (self.second(total) + total, )

    plain, x = Net().eval(), torch.randn(2, 16, 5, 6)
    with torch.no_grad():
        out, = TritonBackbone(rewrite(copy.deepcopy(plain)))(x)
        assert relative_error(out, plain(x)[0]) < 1e-5


def test_parts_between_zeros():
    """Layers that take channels as they are get them without what fills them up."""

    class Net(nn.Module):
        out_channels = (20, )

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(16, 60, 1)
            self.second = nn.Conv2d(20, 20, 3, padding=1)
            self.grouped = nn.Conv2d(20, 20, 3, padding=1, groups=2)
            self.last = nn.Conv2d(120, 20, 1)

        def forward(self, x):
            u = self.first(x).split(20, dim=1)
            y = self.second(u[1])
            cat = torch.cat([u[0].sigmoid(), y, y, self.grouped(u[2]), u[2], u[0] + y], dim=1)
            return (self.last(cat) + y, )

    plain = Net().eval()
    x = torch.randn(2, 16, 5, 6)
    with torch.no_grad():
        expected, = plain(x)
        out, = TritonBackbone(rewrite(copy.deepcopy(plain)))(x)
    assert relative_error(out, expected) < 1e-5
