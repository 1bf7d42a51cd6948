"""How the benchmarks measure: rounds, ceilings, memory."""
import time

import pytest
import torch

from res2net_mm.benchmark import timing as measuring

CPU = torch.device('cpu')


def test_rounds_are_interleaved(monkeypatch):
    """A machine that gets slower all the time: ratios stay right, since every round has both."""
    monkeypatch.setattr(measuring, 'LEAST_SECONDS', 0)
    calls = []

    def run(name, seconds):
        def once():
            calls.append(name)
            time.sleep(seconds * (1 + len(calls) / 10))
        return once

    slow, fast = measuring.time_rounds([run('slow', .02), run('fast', .01)], rounds=4)
    assert ''.join(name[0] for name in calls) == 'sf' + 'sf' + 'sffssffs'  # to warm up, to see how long, four rounds
    assert measuring.ratio(slow, fast)['median'] == pytest.approx(2, rel=.3)


def test_quartiles():
    assert measuring.ratio([2., 4., 6.], [1., 2., 2.]) == dict(median=2, low=2, high=3)
    assert measuring.ratio([3.], [2.]) == dict(median=1.5, low=1.5, high=1.5)


def test_ceilings():
    product, flop = measuring.matrix_product(CPU, torch.float32, size=64)
    copy, moved = measuring.copying(CPU, size=1000)
    assert (flop, moved) == (2 * 64**3, 2000)
    assert product() is None
    assert torch.equal(copy(), torch.ones(1000, dtype=torch.uint8))


def test_memory_of_what_is_allocated_and_freed():
    kept = []

    def run():
        first = torch.empty(1_000_000, dtype=torch.uint8)
        second = torch.empty(3_000_000, dtype=torch.uint8)  # the peak: 4 MB
        del first
        third = torch.empty(500_000, dtype=torch.uint8)
        del second
        kept.append(third)

    for _ in range(2):  # what the first leaves behind does not count for the second
        assert measuring.peak_memory(run, CPU) == pytest.approx(4_000_000, rel=.01)


def test_memory_of_a_backward_pass():
    """Each exp keeps its output of 1 MB for the backward pass; there at most two gradients of that size are alive."""

    def memory(layers):
        weight = torch.zeros(250_000, requires_grad=True)

        def run():
            x = weight
            for _ in range(layers):
                x = x.exp() * 1e-3
            x.sum().backward()
            weight.grad = None

        run()
        return measuring.peak_memory(run, CPU) / 1e6

    few, many = memory(10), memory(30)
    assert 10 < few < 14
    assert many - few == pytest.approx(20, abs=.1)
