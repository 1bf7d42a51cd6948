"""How the benchmarks measure: times in interleaved rounds, the machine's own ceilings, the memory of a step.

A machine's speed drifts, a CPU's by a factor of two. So everything is timed once in every round, the rounds go through
it forwards and backwards in turn, and what is compared are ratios of times of the same round.
"""
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import timer

from ..cli.arguments import device_argument
from ..utils.provenance import provenance

LEAST_SECONDS = 0.1  # of one timing: what is fast runs several times in it
DTYPES = ('float32', 'bfloat16', 'float16')


# 1. Times.


def time_rounds(runs, rounds):
    """Time functions in turn.

    Args:
        runs (list[Callable]): The functions; one that lasts less than 0.1 s is run several times for one timing.
        rounds (int): How often each is timed, after one run that does not count.

    Returns:
        list[list[float]]: For every function its seconds in every round.
    """
    with torch.no_grad():
        for run in runs:
            run()
        repeats = [1 + int(LEAST_SECONDS / seconds_of(run, 1)) for run in runs]
        seconds = [[] for _ in runs]
        for i in range(rounds):
            turn = range(len(runs))
            for j in turn if i % 2 == 0 else reversed(turn):
                seconds[j].append(seconds_of(runs[j], repeats[j]))
    return seconds


def seconds_of(run, repeats):
    """Mean seconds of a run; PyTorch's timer waits for the GPU."""
    start = timer()
    for _ in range(repeats):
        run()
    return (timer() - start) / repeats


def ratio(values, others):
    """Median and quartiles of the ratios, round by round."""
    ratios = [value / other for value, other in zip(values, others)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return dict(median=median(ratios), low=low, high=high)


def spread(found):
    """A ratio as text, with half the distance between the quartiles."""
    return f'{found["median"]:.2f} ±{(found["high"] - found["low"]) / 2:.2f}'


# 2. Ceilings: what the machine does when nothing is in the way. They are timed in the same rounds as the models.


def matrix_product(device, dtype, size=None):
    """A product of two square matrices, by default of 8192 rows on a GPU and of 1024 on a CPU.

    Returns:
        tuple[Callable, int]: The function that computes it, and its floating-point operations, 2·size³.
    """
    size = size or (8192 if device.type == 'cuda' else 1024)
    a, b, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))

    def run():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions may
        torch.mm(a, b, out=out)

    return run, 2 * size**3


def copying(device, size=None):
    """A copy of a tensor of so many bytes, by default 1 GiB on a GPU and 256 MiB on a CPU.

    Returns:
        tuple[Callable, int]: The function that copies it, and the bytes that it reads and writes.
    """
    size = size or 2**(30 if device.type == 'cuda' else 28)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    return lambda: target.copy_(source), 2 * size


# 3. Memory.


def peak_memory(run, device):
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
    for event in sorted((event for event in events if event.get('name') == '[memory]'), key=lambda each: each['ts']):
        live += event['args']['Bytes']
        peak = max(peak, live)
    return peak


# 4. What the commands share.


def measuring_arguments(parser, name, rounds):
    """What every benchmark can be told."""
    parser.add_argument('--rounds', type=int, default=rounds, metavar='N',
                        help=f'how often everything is timed ({rounds})')
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='(float32)')
    parser.add_argument('--channels-last', action='store_true', help='keep the channels of a pixel together')
    parser.add_argument('--out', type=Path, default=Path('work_dirs') / name, metavar='DIR',
                        help=f'where the results go, JSON and a Markdown page and figures (work_dirs/{name})')
    device_argument(parser)


def parse(parser, argv):
    """The arguments, and with them the command line as it was given."""
    args = parser.parse_args(argv)
    args.command = shlex.join(sys.argv[1:] if argv is None else argv)
    return args


def check_least(args, **limits):
    """Refuse arguments, single ones or lists, that are less than their limits.

    Raises:
        ValueError: Naming the option, its value and the limit.
    """
    for name, least in limits.items():
        value = getattr(args, name)
        if min(value if isinstance(value, list) else [value]) < least:
            raise ValueError(f'--{name.replace("_", "-")} {value}: must be at least {least}')


def settings(args):
    """What the numbers of a run are of."""
    return dict(provenance(args.device), command=args.command, threads=torch.get_num_threads(), dtype=args.dtype,
                rounds=args.rounds)


MEASURED = ('{device}, {threads} threads, PyTorch {torch}, commit {commit}, {date}; {dtype}, {rounds} rounds, '
            'interleaved')
