"""What is fused of a backbone's graph: all that a convolution could do, and nothing that is not the same."""
import pytest
import torch
from helpers import VARIANTS, assert_same_function, random_model, randomise
from torch import nn

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.fused_conv import FusedConv
from res2net_mm.models.backbones.base import Backbone


def test_nothing_is_left_to_do_alone():
    """Batch norms, additions of shortcuts and ReLUs are all in convolutions; the additions between splits are not."""
    fast = accelerate(random_model(VARIANTS['v1']), 'pytorch')
    convs = [module for module in fast.modules() if isinstance(module, FusedConv)]
    blocks = 8
    assert len(convs) == 1 + blocks * 5 + 4  # stem; conv1, three K and conv3; shortcuts of four stages
    assert sum(conv.relu for conv in convs) == len(convs) - 4
    nodes = list(fast.runner.graph.nodes)
    assert sum(node.kwargs == dict(overwrite=True) for node in nodes) == blocks
    left = [type(module).__name__ for module in fast.modules() if not list(module.children())]
    assert set(left) == {'FusedConv', 'MaxPool2d', 'AvgPool2d'}
    assert sum('add' in str(node.target) for node in nodes) == 4 * 2  # a block a stage, s - 2 additions


def test_stages_that_are_returned_are_not_overwritten():
    """Without a projection, the next stage could add onto the output of the last."""
    plain = randomise(Res2Net(depth=26, base_channels=16, stem_channels=64, strides=(1, 1, 1, 1))).eval()
    assert_same_function(accelerate(plain, 'pytorch'), plain, torch.randn(2, 3, 32, 32))


class Trunk(Backbone):
    """A backbone of whatever a test does between two convolutions."""

    stage_channels = (16, )
    stage_strides = (1, )
    stem_modules = []

    def __init__(self, between, **layers):
        super().__init__((0, ), -1, False, False, None)
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.layer1 = nn.Conv2d(16, 16, 1)
        self.between = between

    def forward_stem(self, x):
        return self.between(self, self.first(x))


def conv(kernel=1, channels=16):
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)


def shared_norms(net, a):
    return net.norm2(net.conv(net.norm1(net.conv(a))))


def add_in_place(net, a):
    b = net.conv(a)
    c = net.relu(b)
    b += a
    return b * c


def change_between(net, a):
    b = net.conv(a)
    net.relu(a)
    return b + a


def change_view_between(net, a):
    part, b = a[:, :8], net.conv(a)
    net.relu(part)
    return b + a


CONV, RELU, NORM = (lambda: dict(conv=conv())), (lambda: dict(conv=conv(), relu=nn.ReLU(inplace=True))), nn.BatchNorm2d
TRUNKS = {  # what is between the two convolutions, its layers, and how many of its additions are fused
    'addend is the input': (lambda net, a: net.conv(a) + a, lambda: dict(conv=conv(3)), 1),
    'addend is used later': (lambda net, a: (net.conv(a) + a) * a, CONV, 1),
    'broadcast': (lambda net, a: net.conv(net.pool(a)) + a, lambda: dict(conv=conv(), pool=nn.AdaptiveAvgPool2d(1)), 0),
    'broadcast, the other way': (lambda net, a: a + net.conv(net.pool(a)),
                                 lambda: dict(conv=conv(), pool=nn.AdaptiveAvgPool2d(1)), 0),
    'to itself': (lambda net, a: (lambda b: b + b)(net.conv(a)), CONV, 0),
    'a number': (lambda net, a: net.conv(a) + 1., CONV, 0),
    'with a factor': (lambda net, a: torch.add(net.conv(a), a, alpha=2), CONV, 0),
    'shared convolution': (lambda net, a: net.conv(net.conv(a)) + a, CONV, 1),
    'shared convolution, two norms': (shared_norms, lambda: dict(conv=conv(), norm1=NORM(16), norm2=NORM(16)), 0),
    'weight used elsewhere': (lambda net, a: net.norm(net.conv(a)) * net.conv.weight.mean(),
                              lambda: dict(conv=conv(), norm=NORM(16)), 0),
    'in place, of a tensor that has a reader': (add_in_place, lambda: dict(conv=conv(), relu=nn.ReLU()), 0),
    'changed between': (change_between, RELU, 0),
    'changed through a view': (change_view_between, RELU, 0),
    'norm in training': (lambda net, a: net.norm(net.conv(a)),
                         lambda: dict(conv=conv(), norm=NORM(16, track_running_stats=False)), 0),
    'another padding': (lambda net, a: net.conv(a), lambda: dict(conv=nn.Conv2d(16, 16, 1, padding_mode='reflect')), 0),
}


@pytest.mark.parametrize('name', TRUNKS)
def test_only_what_is_the_same_is_fused(name):
    between, layers, additions = TRUNKS[name]
    plain = randomise(Trunk(between, **layers())).eval()
    fast = accelerate(plain, 'pytorch')
    assert f' {additions} additions' in fast.report
    assert_same_function(fast, plain, torch.randn(2, 3, 40, 40))
