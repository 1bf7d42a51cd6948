"""The rewritten graph has no layer left that a convolution could do."""
import torch
from helpers import VARIANTS, assert_same_function, random_model, randomise

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.graph import FusedConv


def test_nothing_is_left_to_do_alone():
    """Batch norms, additions of shortcuts and ReLUs are all in convolutions; the additions between splits are not."""
    fast = accelerate(random_model(VARIANTS['v1']))
    convs = [module for module in fast.modules() if isinstance(module, FusedConv)]
    blocks = 8
    assert len(convs) == 1 + blocks * 5 + 4  # stem; conv1, three K and conv3; shortcuts of four stages
    assert sum(conv.relu for conv in convs) == len(convs) - 4
    assert sum(conv.overwrites_addend for conv in convs) == blocks
    left = [type(module).__name__ for module in fast.modules() if not list(module.children())]
    assert set(left) == {'FusedConv', 'MaxPool2d', 'AvgPool2d'}
    assert sum('add' in str(node.target) for node in fast.graph.nodes) == 4 * 2  # a block a stage, s - 2 additions


def test_stages_that_are_returned_are_not_overwritten():
    """Without a projection, the next stage could add onto the output of the last."""
    plain = randomise(Res2Net(depth=26, base_channels=16, stem_channels=64, strides=(1, 1, 1, 1))).eval()
    assert_same_function(accelerate(plain), plain, torch.randn(2, 3, 32, 32))
