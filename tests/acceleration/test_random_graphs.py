"""Whatever the graph: what is accelerated computes the same, or is left as it was."""
import pytest
import torch
from helpers import relative_error
from random_graphs import RandomBackbone

from res2net_mm.acceleration.backends import accelerate

COUNT = 600


def test_random_graphs():
    x, fused = torch.randn(2, 3, 9, 12), 0
    for seed in range(COUNT):
        plain = RandomBackbone(seed)
        fast = accelerate(plain, 'pytorch', check=False)
        with torch.no_grad():
            wanted, outs = plain(x.clone()), fast(x.clone())
        for out, want in zip(outs, wanted, strict=True):
            assert out.shape == want.shape and relative_error(out, want) < 1e-5, f'seed {seed}'
        fused += int(fast.report.split(' take in ')[1].split(' additions')[0].split(', ')[1])
    assert fused > COUNT / 10  # additions: there is something to get wrong


@pytest.mark.parametrize('seed', range(0, 60, 3))
def test_the_comparison_accepts_them(seed):
    accelerate(RandomBackbone(seed), 'pytorch')
