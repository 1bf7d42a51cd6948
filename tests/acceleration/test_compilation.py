"""Blocks through ``torch.compile``, one by one."""
import copy

import pytest
import torch
from helpers import Contiguous, assert_same_step, randomise
from torch import nn

from res2net_mm.acceleration.training.accelerate import remove_training_acceleration
from res2net_mm.acceleration.training.compilation import compile_blocks
from res2net_mm.models.layers.bottle2neck import Bottle2neck

LIMITS = 'cache_size_limit', 'accumulated_cache_size_limit'


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_block_by_block():
    plain = randomise(nn.Sequential(Bottle2neck(8, 8, 2), Bottle2neck(8, 8, 2, last_relu=False), Contiguous())).double()
    fast = copy.deepcopy(plain)
    compile_blocks(list(fast)[:2], backend='aot_eager')
    assert list(fast.state_dict()) == list(plain.state_dict())
    for size in (6, 7):
        fast.zero_grad(), plain.zero_grad()
        assert_same_step(fast, plain, torch.randn(2, 8, size, 5, dtype=torch.float64), 1e-9)


def test_once_and_not_again():
    block = Bottle2neck(8, 8, 2)
    compile_blocks([block], backend='eager')
    compiled = block._compiled_call_impl
    compile_blocks([block], backend='eager')
    assert block._compiled_call_impl is compiled is not None
    remove_training_acceleration(block)
    assert block._compiled_call_impl is None


def test_what_a_user_compiled_stays():
    block = Bottle2neck(8, 8, 2)
    block.compile(backend='eager')
    assert remove_training_acceleration(block)._compiled_call_impl is not None


def test_more_blocks_than_pytorch_compiles_and_its_limit_stays():
    compiled = []

    def count(graph, inputs):
        compiled.append(graph)
        return graph.forward

    blocks = [Bottle2neck(4 * i, 4 * i, i, scales=2) for i in (1, 2, 3)]
    with torch._dynamo.config.patch(dict.fromkeys(LIMITS, 1)):
        compile_blocks(blocks, backend=count)
        for block in blocks:
            block(torch.randn(2, block.conv1.in_channels, 4, 4))
        assert len(compiled) >= len(blocks)
        assert [getattr(torch._dynamo.config, name) for name in LIMITS] == [1, 1]
