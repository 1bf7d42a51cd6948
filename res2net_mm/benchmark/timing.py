"""How the benchmarks measure: times in interleaved rounds, the machine's own ceilings, the memory of a step.

A machine's speed drifts, a CPU's by a factor of two. So everything is timed once in every round, the rounds go through
it forwards and backwards in turn, and what is compared are ratios of times of the same round.
"""
from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import timer

from ..utils.provenance import provenance

LEAST_SECONDS = 0.1  # of one timing: what is fast runs several times in it
REST_SECONDS = 0.03  # before it: the threads of libraries stay awake after a call and would take the next its time
DTYPES = ('float32', 'bfloat16', 'float16')


@dataclass(frozen=True)
class MeasuringSettings:
    """Where and how often things are timed.

    Attributes:
        device (torch.device): Where models run.
        dtype (str): The type of images and models: one of ``DTYPES``. Defaults to 'float32'.
        channels_last (bool): Whether the channels of a pixel are together in memory. Defaults to False.
        rounds (int): How often everything is timed. Defaults to 15.
        command (str): The command line, for the report. Defaults to ''.
    """

    device: torch.device
    dtype: str = 'float32'
    channels_last: bool = False
    rounds: int = 15
    command: str = ''

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type as PyTorch's."""
        return getattr(torch, self.dtype)

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format as PyTorch's."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def describe(self) -> dict:
        """What the numbers of a run are measured with, for its report: code, machine, date and these settings."""
        return dict(provenance(str(self.device)), command=self.command, threads=torch.get_num_threads(),
                    instructions=torch.backends.cpu.get_cpu_capability(), dtype=self.dtype, rounds=self.rounds)


# What a page says of a run, from what ``describe`` returns.
MEASURED = ('{device}, {threads} threads with {instructions}, PyTorch {torch}, commit {commit}, {date}; {dtype}, '
            '{rounds} rounds, interleaved')


# 1. Times.


def time_rounds(runs: Sequence[Callable], rounds: int) -> list[list[float]]:
    """Time functions in turn.

    Args:
        runs (Sequence[Callable]): The functions; one that lasts less than 0.1 s is run several times for one timing.
        rounds (int): How often each is timed, after one run that does not count; each time after 30 ms of rest.

    Returns:
        list[list[float]]: For every function its seconds in every round.
    """
    with torch.no_grad():
        for run in runs:
            run()
        repeats = [1 + int(LEAST_SECONDS / mean_seconds(run, 1)) for run in runs]
        seconds: list[list[float]] = [[] for _ in runs]
        for i in range(rounds):
            turn = range(len(runs))
            for j in turn if i % 2 == 0 else reversed(turn):
                time.sleep(REST_SECONDS)
                seconds[j].append(mean_seconds(runs[j], repeats[j]))
    return seconds


def mean_seconds(run: Callable, repeats: int) -> float:
    """Mean seconds of a run; PyTorch's timer waits for the GPU."""
    start = timer()
    for _ in range(repeats):
        run()
    return (timer() - start) / repeats


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of ratios of times, round by round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """The median, with half the distance between the quartiles."""
        return f'{self.median:.2f} ±{(self.high - self.low) / 2:.2f}'


def ratio_of_times(seconds: Sequence[float], others: Sequence[float]) -> Ratio:
    """Compare the seconds of one thing in every round with those of another."""
    ratios = [value / other for value, other in zip(seconds, others)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Ratio(median(ratios), low, high)


# 2. Ceilings: what the machine does when nothing is in the way. They are timed in the same rounds as the models.


def matrix_product(device: torch.device, dtype: torch.dtype, size: int | None = None) -> tuple[Callable, int]:
    """A product of two square matrices.

    Args:
        device (torch.device): Where it runs.
        dtype (torch.dtype): The type of the matrices.
        size (int | None): Rows of a matrix. Defaults to None: 8192 on a GPU, 1024 on a CPU.

    Returns:
        tuple[Callable, int]: The function that computes it, and its floating-point operations, 2·size³.
    """
    size = size or (8192 if device.type == 'cuda' else 1024)
    a, b, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))

    def run():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions may
        torch.mm(a, b, out=out)

    return run, 2 * size**3


def tensor_copy(device: torch.device, size: int | None = None) -> tuple[Callable, int]:
    """A copy of a tensor.

    Args:
        device (torch.device): Where it runs.
        size (int | None): Bytes of the tensor. Defaults to None: 1 GiB on a GPU, 256 MiB on a CPU.

    Returns:
        tuple[Callable, int]: The function that copies it, and the bytes that it reads and writes.
    """
    size = size or 2**(30 if device.type == 'cuda' else 28)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    return lambda: target.copy_(source), 2 * size


# 3. Memory.


def peak_memory(run: Callable, device: torch.device) -> int:
    """The bytes that a function allocates at its peak, beside those that are there before it.

    On a CPU this is the running sum of what PyTorch's allocator hands out and takes back, as the profiler sees it; what
    a library keeps to itself inside a call, such as oneDNN, is not in it.

    Args:
        run (Callable): The function; it has run before, so that what it allocates once is there.
        device (torch.device): What it runs on.

    Returns:
        int: The bytes.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # it reports that there is no GPU
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'trace.json'
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
            run()
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    live = peak = 0
    for event in sorted((event for event in events if event.get('name') == '[memory]'), key=lambda event: event['ts']):
        live += event['args']['Bytes']
        peak = max(peak, live)
    return peak
