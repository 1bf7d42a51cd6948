"""What ``benchmark.py`` does: parameters, multiply-adds, running times and memory of models, side by side."""
import argparse
import json
from statistics import median

import torch

from ..cli.command import run_tool
from ..models.complexity import count, traffic
from ..models.names import resolve
from . import timing as measuring
from .contenders import BASELINE, CLASSES, OURS, PATHS, PEERS, check_paths, contenders, is_training, random_batch
from .report import draw, goals, print_table, write_page

DEFAULT_PRESETS = (BASELINE, 'res2net50_48w2s', 'res2net50_26w4s', 'res2net50_14w8s', 'res2net50_18w4s')  # Table 3
TRAINING_COST = 3  # a step computes as much as three forward passes: one, and the gradients of inputs and of weights


def main(argv=None):
    """Time models side by side: the command ``tools/analysis_tools/benchmark.py``."""
    parser = argparse.ArgumentParser(
        description="Compare parameters, multiply-adds, running times and memory of models, and with the paper's "
                    'Table 3.')
    parser.add_argument('presets', nargs='*', metavar='PRESET', default=DEFAULT_PRESETS,
                        help='names of presets (those of Table 3); resnet50 is what the others are compared with')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=['eager'], metavar='PATH',
                        help=f'ways to run a model, of {", ".join(PATHS)} (eager)')
    parser.add_argument('--peers', nargs='*', choices=PEERS, metavar='NAME',
                        help=f'also the models of {", ".join(PEERS)}, or of those that are named, if installed')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1, 8], metavar='N', help='(1 8)')
    parser.add_argument('--image-size', type=int, default=224, metavar='N', help='side of the images in pixels (224)')
    measuring.measuring_arguments(parser, 'benchmark', rounds=15)
    args = measuring.parse(parser, argv)
    run_tool(run, args)


def run(args, device):
    measuring.check_least(args, batch_sizes=1, image_size=32, rounds=1)
    check_paths(args.paths, device, args.dtype)
    peers = [] if args.peers is None else args.peers or PEERS
    costs = {preset: cost(preset, args.image_size) for preset in args.presets}
    args.out.mkdir(parents=True, exist_ok=True)
    report = dict(measuring.settings(args), image_size=args.image_size, ceilings={}, rows=[], left_out=[])
    for batch_size in args.batch_sizes:
        batch = random_batch(batch_size, args.image_size, device, getattr(torch, args.dtype), args.channels_last)
        rows, report['ceilings'], left_out = measure(costs, [OURS, *peers], args.paths, batch, args.rounds)
        report['rows'] += rows
        report['left_out'] += [line for line in left_out if line not in report['left_out']]
        written = [args.out / f'benchmark.{kind}' for kind in ('json', 'md', 'png')]  # what there is so far
        written[0].write_text(json.dumps(report, indent=1) + '\n')
        write_page(report, device, written[1])
        draw(report['rows'], written[2])
    print_table(report['rows'])
    for question, answers in goals(report['rows']).items():
        print(f'{question}:', *answers, sep='\n  ')
    for line in report['left_out']:
        print('left out:', line)
    print('written:', *written, sep='\n  ')


def cost(preset, image_size):
    """Parameters and multiply-adds, the values that an image and the weights move, and the paper's ratio of times."""
    params, macs = count(resolve(preset).config, image_size, CLASSES)
    moved, weights = traffic(resolve(preset).config, image_size, CLASSES)
    return dict(params=params, macs=macs, moved=moved, weights=weights, paper=paper_ratio(preset))


def measure(costs, sources, paths, batch, rounds):
    """Time every preset from every source in every way on a batch.

    Args:
        costs (dict[str, dict]): What ``cost`` says of every preset.
        sources (list[str]): 'res2net_mm' and keys of ``PEERS``.
        paths (list[str]): Keys of ``PATHS``.
        batch (Tensor): (n, 3, h, w).
        rounds (int): How often everything is timed.

    Returns:
        tuple[list[dict], dict, list[str]]: A row for everything timed, with ``seconds`` (of every round) and what the
        table shows of them; the machine's ceilings; and why something was not timed.
    """
    timed, left_out = contenders(costs, sources, paths, batch)
    product, flop = measuring.matrix_product(batch.device, batch.dtype)
    copy, copied = measuring.copying(batch.device)
    runs = [*(contender.run for contender in timed), product, copy]
    *seconds, product_seconds, copy_seconds = measuring.time_rounds(runs, rounds)
    of = {contender[:3]: values for contender, values in zip(timed, seconds)}
    rows = []
    for contender, values in zip(timed, seconds):
        preset, source, path = contender[:3]
        row = dict(preset=preset, source=source, path=path, batch_size=len(batch), ms=1e3 * median(values),
                   images_per_second=len(batch) / median(values), **costs[preset])
        same, mine = of.get((BASELINE, source, path)), of.get((preset, OURS, path))
        row['to_baseline'] = measuring.ratio(values, same) if same else None
        row['to_ours'] = measuring.ratio(values, mine) if mine and source != OURS else None
        work = 2 * row['macs'] * len(batch) * (TRAINING_COST if is_training(path) else 1)
        row['tflops'] = work / median(values) / 1e12
        row['of_product'] = work / flop * measuring.ratio(product_seconds, values)['median']
        if is_training(path):
            row['step_memory'] = measuring.peak_memory(contender.run, batch.device)
            row['memory'] = row['step_memory'] + standing_memory(contender.model, batch)
        else:
            moved = (row['moved'] * len(batch) + row['weights']) * batch.element_size()
            row['of_copy'] = moved / copied * measuring.ratio(copy_seconds, values)['median']
        rows.append(dict(row, seconds=values))
    ceilings = dict(product_tflops=flop / median(product_seconds) / 1e12, copy_gbs=copied / median(copy_seconds) / 1e9)
    return rows, ceilings, left_out


def standing_memory(model, batch):
    """The bytes that training holds between two steps: weights and momentum, buffers, the images."""
    trained = sum(value.nbytes for value in model.parameters())
    return 2 * trained + sum(value.nbytes for value in model.buffers()) + batch.nbytes


def paper_ratio(preset):
    """The running time that Table 3 prints for a preset divided by ResNet-50's; None if it prints none."""
    time = resolve(preset).published.runtime_ms
    return time / resolve(BASELINE).published.runtime_ms if time else None
