"""What ``tools/benchmark.py`` does: parameters, multiply-adds and running times of models, side by side in one run.

A machine's speed drifts, a CPU's by a factor of two. So every model is timed once in every round, the rounds go through
the models forwards and backwards in turn, and what is compared are ratios of times of the same round.
"""
import argparse
import json
import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import torch
from mmengine.registry import MODELS
from torch.utils.benchmark import timer

from . import paper
from .acceleration import accelerate, compile_for_openvino, onnx_session
from .cli import console, device_argument, run_tool
from .complexity import Classifier, count
from .machine import provenance
from .models.presets import build_preset, find_preset
from .models.res2net import ALIASES, ARCHS, DEFAULT_ARCH

BASELINE = 'resnet50'
DEFAULT_PRESETS = (BASELINE, 'res2net50_48w2s', 'res2net50_26w4s', 'res2net50_14w8s', 'res2net50_18w4s')  # Table 3
CLASSES = 1000
LEAST_SECONDS = 0.1  # of one timing: a fast model runs several times in it
DTYPES = ('float32', 'bfloat16', 'float16')
OURS = 'res2net_mm'


# 1. Whose model: a classifier of a preset's architecture; None where a package has none.


def from_here(preset):
    backbone = build_preset(preset)
    return Classifier(backbone, backbone.out_channels[-1], CLASSES)


def from_timm(preset):
    import timm
    names = {preset, *(alias for alias, name in ALIASES.items() if name == preset)}
    name = next((name for name in timm.list_models() if name in names), None)
    return name and timm.create_model(name, num_classes=CLASSES)


def from_toolbox(scope, preset):
    """mmpretrain's and mmdet's models have neither groups nor SE, and mmdet's Res2Net v1b's stem and shortcuts only."""
    __import__(f'{scope}.models')
    arch = {**DEFAULT_ARCH, **ARCHS.get(preset, {})}
    groups, se_reduction = arch.pop('groups'), arch.pop('se_reduction')
    v1b = arch['deep_stem'] and arch['avg_down']
    if preset not in ARCHS or groups > 1 or se_reduction or (scope == 'mmdet' and arch['scales'] > 1 and not v1b):
        return None
    config = dict(type='Res2Net', **arch) if arch['scales'] > 1 else dict(type='ResNet', depth=arch['depth'])
    return Classifier(MODELS.build(dict(config, type=f'{scope}.{config["type"]}')), 2048, CLASSES)


PEERS = {
    'timm': from_timm,
    'mmpretrain': partial(from_toolbox, 'mmpretrain'),
    'mmdet': partial(from_toolbox, 'mmdet'),
}


# 2. How it runs: each takes a model and a batch to a function that runs the one on the other once.


def eager(model, batch):
    """PyTorch, layer by layer."""
    return lambda: model(batch)


def compiled(model, batch):
    """``torch.compile``, with the weights as constants on a CPU and the best of several kernels on a GPU."""
    from torch._inductor import config
    fast = torch.compile(model, mode='max-autotune' if batch.is_cuda else 'default', dynamic=False)
    with config.patch(freezing=not batch.is_cuda):
        fast(batch)
    return lambda: fast(batch)


def accelerated(model, batch, backend='pytorch'):
    """``accelerate``, for our models only."""
    fast = accelerate(model, backend)
    return lambda: fast(batch)


def onnxruntime(model, batch):
    """ONNX Runtime on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'model.onnx')
        torch.onnx.export(model, (batch, ), path, dynamo=True, verbose=False, external_data=False)
        session = onnx_session(path)
    feed = {session.get_inputs()[0].name: batch.numpy()}
    return lambda: session.run(None, feed)


def openvino(model, batch):
    """OpenVINO on the CPU."""
    import openvino
    request = compile_for_openvino(openvino.convert_model(model, example_input=batch)).create_infer_request()
    array = batch.numpy()
    return lambda: request.infer([array])


def training(model, batch):
    """A step of SGD: forward, backward, update."""
    model.train()
    labels = torch.arange(len(batch), device=batch.device) % CLASSES
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step():
        with torch.enable_grad():
            torch.nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


PATHS = {
    'eager': eager,
    'compile': compiled,
    'onnxruntime': onnxruntime,
    'openvino': openvino,
    'accelerate': accelerated,
    'accelerate-onnxruntime': partial(accelerated, backend='onnxruntime'),
    'accelerate-openvino': partial(accelerated, backend='openvino'),
    'accelerate-triton': partial(accelerated, backend='triton'),
    'train': training,
}
CPU_ONLY = [path for path in PATHS if path.endswith(('onnxruntime', 'openvino'))]


# 3. Measuring.


class Contender(NamedTuple):
    """What is timed: a preset, whose model of it, how it runs; and the function that runs it once."""

    preset: str
    source: str
    path: str
    run: callable


def contenders(presets, sources, paths, batch):
    """Build what is to be compared, every model with the weights of the same seed.

    Returns:
        tuple[list[Contender], list[str]]: What can be timed, and why something cannot.
    """
    found, left_out = [], []
    for preset in presets:
        for source in sources:
            for path in paths:
                torch.manual_seed(0)
                try:
                    model = from_here(preset) if source == OURS else PEERS[source](preset)
                    if model is None:
                        left_out.append(f'{preset} of {source}: there is none')
                        break
                    model = model.to(batch.device, batch.dtype, memory_format=layout(batch))
                    with torch.no_grad():
                        found.append(Contender(preset, source, path, PATHS[path](model.eval(), batch)))
                except (ImportError, ValueError) as error:
                    left_out.append(f'{path} of {source}: {error}')
                print('.', end='', flush=True)
    print()
    return found, left_out


def layout(batch):
    """The memory format of a batch."""
    return torch.contiguous_format if batch.is_contiguous() else torch.channels_last


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


def measure(presets, sources, paths, batch_sizes, image_size, rounds, device, dtype, channels_last):
    """Time every preset from every source in every way, batch size by batch size.

    Returns:
        tuple[list[dict], list[str]]: A row for everything timed, with ``seconds`` (of every round) and the numbers of
        the table; and why something was not timed.
    """
    rows, left_out = [], []
    costs = {preset: count(find_preset(preset), image_size, CLASSES) for preset in presets}
    for batch_size in batch_sizes:
        batch = torch.randn(batch_size, 3, image_size, image_size, device=device, dtype=dtype)
        if channels_last:
            batch = batch.to(memory_format=torch.channels_last)
        timed, missing = contenders(presets, sources, paths, batch)
        left_out += missing
        seconds = time_rounds([contender.run for contender in timed], rounds)
        of = {contender[:3]: values for contender, values in zip(timed, seconds)}
        for contender, values in zip(timed, seconds):
            row = dict(zip(Contender._fields, contender[:3]), batch_size=batch_size)
            params, macs = costs[contender.preset]
            row.update(params=params, macs=macs, ms=1e3 * median(values), images_per_second=batch_size / median(values))
            same = of.get((BASELINE, contender.source, contender.path))
            row['to_baseline'] = same and ratio(values, same)
            mine = of.get((contender.preset, OURS, contender.path))
            row['to_ours'] = ratio(values, mine) if mine and contender.source != OURS else None
            row['paper'] = paper_ratio(contender.preset)
            rows.append(dict(row, seconds=values))
    return rows, list(dict.fromkeys(left_out))


def ratio(values, others):
    """Median and quartiles of the ratios, round by round."""
    ratios = [value / other for value, other in zip(values, others)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return dict(median=median(ratios), low=low, high=high)


def paper_ratio(preset):
    """The running time that Table 3 prints for a preset divided by ResNet-50's; None if it prints none."""
    rows = paper.read_tables()['table3']['rows'].values()
    times = {f'res2net50_{row["split"]}' if row['split'] else BASELINE: row['paper'][None]['runtime_ms']
             for row in rows if 'runtime_ms' in row['paper'][None]}
    return times[preset] / times[BASELINE] if preset in times else None


def bests(rows):
    """What every model takes at its best: each on its fastest path for inference, beside ResNet-50 on its own.

    Returns:
        list[str]: A sentence for every batch size, preset and source.
    """
    lines = []
    for batch_size in dict.fromkeys(row['batch_size'] for row in rows):
        fastest = {}
        for row in rows:
            key = row['preset'], row['source']
            if row['batch_size'] == batch_size and row['path'] != 'train':
                fastest[key] = min(row, fastest.get(key, row), key=lambda each: each['ms'])
        baseline = min((row for (preset, _), row in fastest.items() if preset == BASELINE),
                       key=lambda each: each['ms'], default=None)
        for (preset, source), row in fastest.items():
            others = {'of the fastest ResNet-50': baseline, 'of ours': fastest.get((preset, OURS))}
            compared = [f'{ratio(row["seconds"], other["seconds"])["median"]:.2f} {what} ({other["path"]})'
                        for what, other in others.items() if other and other is not row]
            if compared:
                lines.append(f'batch {batch_size}: {preset} of {source} at its best ({row["path"]}) takes '
                             f'{" and ".join(compared)}')
    return lines


# 4. The table, the figure and the command.


HEADS = ('batch', 'model', 'of', 'path', 'params M', 'MACs G', 'ms', 'images/s', '/ ResNet-50', 'paper', '/ ours')


def cells(row):
    """A row of the table as text: ratios with half the distance between the quartiles."""

    def shown(found):
        return f'{found["median"]:.2f} ±{(found["high"] - found["low"]) / 2:.2f}' if found else ''

    return (str(row['batch_size']), row['preset'], row['source'], row['path'], f'{row["params"] / 1e6:.2f}',
            f'{row["macs"] / 1e9:.2f}', f'{row["ms"]:.1f}', f'{row["images_per_second"]:.1f}',
            shown(row['to_baseline']), f'{row["paper"]:.2f}' if row['paper'] else '', shown(row['to_ours']))


def print_table(rows):
    from rich import box
    from rich.table import Table
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
                  title='Ratios of times: medians over the rounds ± half the quartile distance; under 1 is faster')
    for head in HEADS:
        table.add_column(head, justify='left' if head in ('model', 'of', 'path') else 'right', no_wrap=True)
    for row, following in zip(rows, [*rows[1:], rows[-1]]):
        table.add_row(*cells(row), end_section=row['batch_size'] != following['batch_size'])
    console().print(table)


PAGE = """# Running times

Measured with `tools/benchmark.py {command}`: {device}, {threads} threads, PyTorch {torch}, commit {commit}, {date}.
{image_size}×{image_size} images, {dtype}, {rounds} rounds, interleaved. */ ResNet-50* and */ ours* are times divided by
those of ResNet-50 from the same source in the same way, and by those of our model: medians over the rounds ± half the
distance of the quartiles; under 1 is faster. *Paper* is the ratio of Table 3, measured on a GPU of 2019.

{table}

{bests}
{left_out}
![Times relative to ResNet-50](benchmark.png)
"""


def draw(rows, path):
    """Draw the ratios to ResNet-50, a panel for every batch size, beside the paper's."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    batch_sizes = list(dict.fromkeys(row['batch_size'] for row in rows))
    presets = list(dict.fromkeys(row['preset'] for row in rows if row['preset'] != BASELINE))
    ways = list(dict.fromkeys((row['source'], row['path']) for row in rows))
    figure, axes = plt.subplots(len(batch_sizes), figsize=(1.8 * max(len(presets), 3) + 2, 3.2 * len(batch_sizes)),
                                squeeze=False, layout='constrained')
    for axis, batch_size in zip(axes[:, 0], batch_sizes):
        for i, way in enumerate(ways):
            mine = [row for row in rows if (row['source'], row['path']) == way and row['batch_size'] == batch_size
                    and row['preset'] != BASELINE and row['to_baseline']]
            ratios = [row['to_baseline'] for row in mine]
            middle = [found['median'] for found in ratios]
            spread = [[found['median'] - found['low'] for found in ratios],
                      [found['high'] - found['median'] for found in ratios]]
            places = [presets.index(row['preset']) + (i - (len(ways) - 1) / 2) * .8 / len(ways) for row in mine]
            axis.bar(places, middle, .8 / len(ways), yerr=spread, capsize=2, label=', '.join(way))
        published = [(i, paper_ratio(preset)) for i, preset in enumerate(presets) if paper_ratio(preset)]
        if published:
            axis.hlines([value for _, value in published], [i - .45 for i, _ in published],
                        [i + .45 for i, _ in published], colors='black', linestyles='dashed', label='paper, Table 3')
        axis.axhline(1, color='grey', linewidth=.8)
        axis.set(title=f'batch {batch_size}', ylabel='time relative to ResNet-50')
        axis.set_xticks(range(len(presets)), presets, fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside lower center', fontsize=8, ncols=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None):
    """Time models side by side: the command ``tools/benchmark.py``."""
    parser = argparse.ArgumentParser(
        description="Compare parameters, multiply-adds and running times of models, and with the paper's Table 3.")
    parser.add_argument('presets', nargs='*', metavar='PRESET', default=DEFAULT_PRESETS,
                        help='names of presets (those of Table 3); resnet50 is what the others are compared with')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=['eager'], metavar='PATH',
                        help=f'ways to run a model, of {", ".join(PATHS)} (eager)')
    parser.add_argument('--peers', action='store_true', help=f'also the models of {", ".join(PEERS)}, if installed')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1, 8], metavar='N', help='(1 8)')
    parser.add_argument('--image-size', type=int, default=224, metavar='N', help='side of the images in pixels (224)')
    parser.add_argument('--rounds', type=int, default=15, metavar='N', help='how often everything is timed (15)')
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='(float32)')
    parser.add_argument('--channels-last', action='store_true', help='keep the channels of a pixel together')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), metavar='DIR',
                        help='where benchmark.json, .md and .png go (work_dirs/benchmark)')
    device_argument(parser)
    args = parser.parse_args(argv)
    args.command = shlex.join(sys.argv[1:] if argv is None else argv)
    run_tool(run, args)


def run(args, device):
    check(args, device)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, left_out = measure(args.presets, [OURS, *(PEERS if args.peers else [])], args.paths, args.batch_sizes,
                             args.image_size, args.rounds, device, getattr(torch, args.dtype), args.channels_last)
    print_table(rows)
    best = bests(rows)
    print(*best, sep='\n')
    for line in left_out:
        print('left out:', line)
    settings = dict(provenance(args.device), command=args.command, threads=torch.get_num_threads(),
                    image_size=args.image_size, dtype=args.dtype, rounds=args.rounds)
    written = [args.out / f'benchmark.{kind}' for kind in ('json', 'md', 'png')]
    written[0].write_text(json.dumps(dict(settings, rows=rows, left_out=left_out), indent=1) + '\n')
    # A CPU's times say little about another's; its ratios do.
    kept = [i for i, head in enumerate(HEADS) if device.type == 'cuda' or head not in ('ms', 'images/s')]
    table = paper.markdown_table([HEADS[i] for i in kept], [[cells(row)[i] for i in kept] for row in rows])
    written[1].write_text(PAGE.format(
        **settings, table=table, bests='\n'.join(f'* {line}' for line in best),
        left_out=''.join(f'\nLeft out: {line}.' for line in left_out)), encoding='utf-8')
    draw(rows, written[2])
    print('written:', *written, sep='\n  ')


def check(args, device):
    """Refuse, before anything is built, what cannot be measured."""
    for preset in args.presets:
        find_preset(preset)
    for name in ('batch_sizes', 'image_size', 'rounds'):
        value = getattr(args, name)
        least = 32 if name == 'image_size' else 1
        if min(value if isinstance(value, list) else [value]) < least:
            raise ValueError(f'--{name.replace("_", "-")} {value}: must be at least {least}')
    for path in args.paths:
        if path in CPU_ONLY and (device.type != 'cpu' or args.dtype != 'float32'):
            raise ValueError(f'--paths {path}: runs on the CPU and in float32 only')
        if path == 'accelerate-triton' and device.type != 'cuda':
            raise ValueError(f'--paths {path}: runs on a GPU only')
    if 'train' in args.paths and args.dtype == 'float16':
        raise ValueError('--dtype float16: does not train; use bfloat16')
