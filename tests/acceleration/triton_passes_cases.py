"""The graph after the passes, in Triton's interpreter, on the CPU; ``test_triton_interpreter.py`` runs this."""
import torch
from helpers import random_model, relative_error
from random_graphs import RandomBackbone
from torch import nn

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.fused_conv import FusedConv
from res2net_mm.acceleration.graph import called_module
from res2net_mm.acceleration.passes import rewrite
from res2net_mm.acceleration.triton.kernel import KernelConv
from res2net_mm.acceleration.triton.module import TritonBackbone
from res2net_mm.acceleration.triton.passes import copy_missing
from res2net_mm.acceleration.triton.pooling import KernelPool


def kernels(plain, x):
    return TritonBackbone(rewrite(plain, x)[0], x)


def test_what_is_left():
    """Of a real Res2Net: every tensor that the kernel reads or writes starts 16 bytes apart, and no pass is left."""
    fast = accelerate(random_model(dict(type='res2net_mm.Res2Net', depth=26)), 'triton')
    kernels = [module for module in fast.modules() if isinstance(module, KernelConv)]
    assert len(kernels) == 8 * 5 + 4
    assert {kernel.in_channels for kernel in kernels} >= {32, 56, 104, 208} and {4 * 32, 4 * 56} <= {
        kernel.out_channels for kernel in kernels}
    assert all(kernel.in_channels % 8 == kernel.out_channels % 8 == 0 for kernel in kernels)
    graph = fast.runner.module.graph
    names = [getattr(node.target, '__name__', node.target) for node in graph.nodes if node.op.startswith('call_f')]
    assert {name: names.count(name) for name in set(names)} == dict(
        getitem=8 * 4, empty_output=8, slice_channels=8 * 4, copy_missing=8, match_memory_format=4)
    assert not any(node.args[2] for node in graph.nodes if node.target is copy_missing)  # kernels write everything
    module = fast.runner.module
    pools = [sorted(node.kwargs) for node in graph.nodes if isinstance(called_module(node, module), KernelPool)]
    assert pools == [[], *[['out']] * 4]  # the stem's, and that of each stage block's last split
    added = [sorted(node.kwargs) for node in graph.nodes if node.op == 'call_module' and 'convs' in node.target]
    assert added == ([['out']] * 3 + [['out']] + [['out', 'x2']] * 2) * 4


def test_narrow_splits():
    """14 channels of 14w8s are filled up, too: all but the stem and the pools is the kernel's."""
    with torch.device('meta'):
        plain = Res2Net(depth=26, arch='res2net50_14w8s')
    fast = accelerate(plain.to_empty(device='cpu'), 'triton', check=False)
    convs = [module for module in fast.modules() if isinstance(module, (KernelConv, FusedConv))]
    assert sum(type(conv) is FusedConv for conv in convs) == 1
    assert fast.runner.module.get_submodule('layer1.0.conv1_fused').out_channels == 8 * 16


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
        out, = kernels(plain, x)(x)
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
        out, = kernels(plain, x)(x)
    assert relative_error(out, expected) < 1e-5


def test_random_graphs():
    """Those of test_random_graphs.py, of which the kernel runs all but the first convolution."""
    x = torch.randn(2, 3, 9, 12)
    for seed in range(40):
        plain = RandomBackbone(seed)
        with torch.no_grad():
            wanted, outs = plain(x.clone()), kernels(plain, torch.randn(2, 3, 10, 14))(x.clone())
        for out, want in zip(outs, wanted, strict=True):
            assert out.shape == want.shape and relative_error(out, want) < 1e-5, f'seed {seed}'


def test_splits_and_concatenations_of_other_kinds():

    class Net(nn.Module):

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(16, 20, 1)
            self.second = nn.Conv2d(20, 20, 1)

        def forward(self, x):
            y = self.first(x)
            whole = torch.cat(y.split(7, dim=1), dim=1)
            rows = torch.cat([y, y])
            return whole + self.second(y), rows, torch.cat(y.split(100, dim=1), 1), torch.cat((y, y), 2)

    plain, x = Net().eval(), torch.randn(2, 16, 5, 6)
    with torch.no_grad():
        for out, want in zip(kernels(plain, x)(x), plain(x), strict=True):
            assert out.shape == want.shape and relative_error(out, want) < 1e-5
