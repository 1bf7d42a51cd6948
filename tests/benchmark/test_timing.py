"""How the benchmarks measure: rounds, ceilings, memory."""
import pytest
import torch

from res2net_mm.benchmark import timing

CPU = torch.device('cpu')


def test_rounds_are_interleaved(monkeypatch):
    """A machine that gets slower all the time: ratios stay right, since every round has both."""
    monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
    calls, clock = [], [0.]
    monkeypatch.setattr(timing, 'timer', lambda: clock[0])

    def run(name, seconds):
        def once():
            calls.append(name)
            clock[0] += seconds * (1 + len(calls) / 10)
        return once

    slow, fast = timing.time_rounds([run('slow', 2.), run('fast', 1.)], rounds=4)
    assert ''.join(name[0] for name in calls) == 'sf' + 'sf' + 'sffssffs'  # to warm up, to see how long, four rounds
    assert slow == pytest.approx([2 * 1.5, 2 * 1.8, 2 * 1.9, 2 * 2.2])
    assert timing.ratio_of_times(slow, fast).median == pytest.approx(2, rel=.05)


def test_what_is_fast_runs_several_times(monkeypatch):
    clock = [0.]
    monkeypatch.setattr(timing, 'timer', lambda: clock[0])

    def run():
        clock[0] += .03

    assert timing.time_rounds([run], rounds=2) == [pytest.approx([.03, .03])]
    assert clock[0] == pytest.approx(.03 * (1 + 1 + 2 * 4))  # to warm up, to see how long, two rounds of over 0.1 s


def test_quartiles():
    assert timing.ratio_of_times([2., 4., 6.], [1., 2., 2.]) == timing.Ratio(median=2, low=2, high=3)
    assert timing.ratio_of_times([3.], [2.]) == timing.Ratio(median=1.5, low=1.5, high=1.5)
    assert str(timing.Ratio(median=2, low=2, high=3)) == '2.00 ±0.50'


def test_ceilings():
    product, flop = timing.matrix_product(CPU, torch.float32, size=64)
    copy, moved = timing.tensor_copy(CPU, size=1000)
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
        assert timing.peak_memory(run, CPU) == pytest.approx(4_000_000, rel=.01)


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
        return timing.peak_memory(run, CPU) / 1e6

    few, many = memory(10), memory(30)
    assert 10 < few < 14
    assert many - few == pytest.approx(20, abs=.1)
