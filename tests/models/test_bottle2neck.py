"""The block: tracing it, and what runs it."""
import copy

import pytest
import torch
from helpers import SMALL, build, randomise

from res2net_mm.models.layers.bottle2neck import Bottle2neck


def test_a_checkpointed_model_is_traced():
    """``torch.jit.trace`` checks its graph against a second one."""
    model = randomise(build(SMALL, base_channels=8, with_cp=True)).eval()
    x = torch.randn(2, 3, 64, 64)
    traced = torch.jit.trace(model, x)
    assert all(torch.equal(out, wanted) for out, wanted in zip(traced(x), model(x)))


@pytest.mark.parametrize('with_cp', [False, True])
def test_an_executor_runs_the_block(with_cp):
    """Twice with ``with_cp``: it is what is recomputed."""
    calls = []

    def double(block, x, identity):
        calls.append((block, identity))
        return 2 * block.run_layers(x, identity)

    plain = randomise(Bottle2neck(8, 8, 2, with_cp=with_cp))
    assert plain.executor is None
    block, x = copy.deepcopy(plain), torch.randn(2, 8, 5, 5)
    block.executor = double
    outs = [model(x, x) for model in (block, plain)]
    assert torch.equal(outs[0], 2 * outs[1])
    outs[0].sum().backward()
    assert calls == [(block, x)] * (2 if with_cp else 1)
    assert list(block.state_dict()) == list(plain.state_dict())
