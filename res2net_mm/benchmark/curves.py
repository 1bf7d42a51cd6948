"""What ``tools/analysis_tools/cost_curves.py`` does: how running time grows with the scales, the batch and the image.

A model should cost what it computes: as much with any number of scales if the multiply-adds are equal, and in
proportion to images and pixels, besides what every call costs. So it is timed along three curves, and two numbers say
of each whether that holds: how far the times are from a straight line, and the largest step between neighbours in the
time per image or pixel. A step up of more than a quarter is called a cliff.
"""
import argparse
import json
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from ..cli.command import run_tool
from ..models.complexity import classifier, count
from ..models.names import resolve
from ..utils.text import markdown_table
from .contenders import BASELINE, CLASSES, PATHS, check_paths, make_run, random_batch
from .timing import MEASURED, check_least, measuring_arguments, parse, ratio, settings, time_rounds

CLIFF = 1.25
UNITS = {'scales': 'time per image', 'batch': 'time per image', 'image': 'time per pixel'}


def main(argv=None):
    """Time models along curves: the command ``tools/analysis_tools/cost_curves.py``."""
    parser = argparse.ArgumentParser(
        description='Measure how running time grows with the scales (at equal multiply-adds), the batch and the image.')
    parser.add_argument('presets', nargs='*', metavar='PRESET', default=[BASELINE, 'res2net50_26w4s'],
                        help=f'models of the curves over batch and image ({BASELINE} res2net50_26w4s)')
    parser.add_argument('--curves', nargs='+', choices=UNITS, default=list(UNITS), metavar='NAME',
                        help=f'which, of {", ".join(UNITS)} (all)')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=['eager', 'accelerate'], metavar='PATH',
                        help=f'ways to run a model, of {", ".join(PATHS)} (eager accelerate)')
    parser.add_argument('--scales', nargs='+', type=int, default=list(range(1, 9)), metavar='N', help='(1 to 8)')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1, 2, 4, 8, 16], metavar='N',
                        help='(1 2 4 8 16)')
    parser.add_argument('--image-sizes', nargs='+', type=int, default=list(range(128, 449, 64)), metavar='N',
                        help='sides in pixels (128 to 448 in steps of 64)')
    parser.add_argument('--at', nargs=2, type=int, default=(1, 224), metavar=('BATCH', 'PIXELS'),
                        help='batch and image size along the other curves (1 224)')
    measuring_arguments(parser, 'cost_curves', rounds=7)
    args = parse(parser, argv)
    run_tool(run, args)


def run(args, device):
    check_least(args, scales=1, batch_sizes=1, image_sizes=32, rounds=1)
    if args.at[0] < 1 or args.at[1] < 32:
        raise ValueError(f'--at {args.at[0]} {args.at[1]}: must be at least 1 32')
    check_paths(args.paths, device, args.dtype)
    curves = {name: curve(name, args) for name in args.curves}
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, models in curves.items():
        rows += measure(name, models, args.paths, args.rounds, device, getattr(torch, args.dtype), args.channels_last)
    report = dict(settings(args), batch_size=args.at[0], image_size=args.at[1], rows=rows)
    written = [args.out / f'cost_curves.{kind}' for kind in ('json', 'md', 'png')]
    written[0].write_text(json.dumps(report, indent=1) + '\n')
    written[1].write_text(page(report), encoding='utf-8')
    draw(rows, written[2])
    print(*map(verdict, rows), sep='\n')
    print('written:', *written, sep='\n  ')


# 1. What is timed.


class Point(NamedTuple):
    """A point of a curve: the scales, the batch size or the side of the image; and what is timed there."""

    x: int
    label: str
    backbone: dict
    batch_size: int
    image_size: int


def curve(name, args):
    """The points of every model of a curve.

    Returns:
        dict[str, list[Point]]: Points by the name of the model, in order.

    Raises:
        ValueError: If there are less than two points, or there is no such preset.
    """
    option = {'scales': 'scales', 'batch': 'batch_sizes', 'image': 'image_sizes'}[name]
    values = sorted(set(getattr(args, option)))
    if len(values) < 2:
        raise ValueError(f'--{option.replace("_", "-")} {values[0]}: a curve has two points and more')
    batch_size, image_size = args.at
    if name == 'scales':
        backbones = {scales: of_equal_cost(scales) for scales in values}
        return {'Res2Net-50': [Point(scales, f'{scales} ({backbone["base_width"]}w)', backbone, batch_size, image_size)
                               for scales, backbone in backbones.items()]}
    if name == 'batch':
        return {preset: [Point(value, str(value), resolve(preset).config, value, image_size) for value in values]
                for preset in args.presets}
    return {preset: [Point(value, str(value), resolve(preset).config, batch_size, value) for value in values]
            for preset in args.presets}


def of_equal_cost(scales):
    """Res2Net-50 with so many scales, of the width whose multiply-adds come nearest to ResNet-50's.

    Returns:
        dict: Its config; with one scale, ResNet-50's.
    """
    target = count(resolve(BASELINE).config)[1]

    def backbone(width):
        return dict(type='res2net_mm.Res2Net', scales=scales, base_width=width)

    widths = (8, 16, 32)  # multiply-adds are quadratic in the width: three tell all
    macs = np.polyfit(widths, [count(backbone(width))[1] for width in widths], 2)
    return backbone(min(range(1, 65), key=lambda width: abs(np.polyval(macs, width) - target)))


# 2. Measuring.


def measure(name, models, paths, rounds, device, dtype, channels_last):
    """Time all points of a curve in the same rounds.

    Args:
        name (str): A key of ``UNITS``.
        models (dict[str, list[Point]]): What ``curve`` returns.
        paths (list[str]): Keys of ``PATHS``.
        rounds (int): How often every point is timed.
        device (torch.device): Where.
        dtype (torch.dtype): The type of the images.
        channels_last (bool): Whether the channels of a pixel are together.

    Returns:
        list[dict]: A row for every model and path.
    """
    lines = [(model, path) for model in models for path in paths]
    runs = []
    for model, path in lines:
        for point in models[model]:
            torch.manual_seed(0)
            batch = random_batch(point.batch_size, point.image_size, device, dtype, channels_last)
            runs.append(make_run(classifier(point.backbone, CLASSES), path, batch))
            print('.', end='', flush=True)
    print()
    seconds = iter(time_rounds(runs, rounds))
    rows = []
    for model, path in lines:
        points = models[model]
        measured = [next(seconds) for _ in points]
        macs = [count(point.backbone, point.image_size, CLASSES)[1] * point.batch_size for point in points]
        rows.append(dict(curve=name, model=model, path=path, x=[point.x for point in points],
                         labels=[point.label for point in points], macs=macs, seconds=measured,
                         **growth(name, points, measured)))
    return rows


def growth(name, points, seconds):
    """What a curve says.

    Args:
        name (str): A key of ``UNITS``.
        points (list[Point]): Its points.
        seconds (list[list[float]]): The seconds of every point in every round.

    Returns:
        dict: ``relative``, the time per unit of every point divided by that of the first; ``step``, the largest ratio
        of such times of neighbours, and ``step_at``, their two places; ``off_line``, by which part of itself a time is
        off the straight line through all, at most. The line is over the scales, images or pixels.
    """
    amounts = [{'scales': 1, 'batch': point.x, 'image': point.x**2}[name] for point in points]
    along = [point.x for point in points] if name == 'scales' else amounts

    def per_unit(i, j):
        return ratio(seconds[i], seconds[j])['median'] * amounts[j] / amounts[i]

    step, at = max((per_unit(i + 1, i), i) for i in range(len(points) - 1))
    times = np.array([median(values) for values in seconds])
    line = np.polyval(np.polyfit(along, times, 1, w=1 / times), along)
    return dict(relative=[per_unit(i, 0) for i in range(len(points))], step=step,
                step_at=[points[at].x, points[at + 1].x], off_line=float(np.abs(times / line - 1).max()))


# 3. Results.


def verdict(row):
    """What a row says, in a sentence."""
    first, second = row['step_at']
    return (f'{row["curve"]}, {row["model"]}, {row["path"]}: {"CLIFF" if row["step"] > CLIFF else "no cliff"}; the '
            f'largest step up of the {UNITS[row["curve"]]} is {row["step"]:.2f}, from {first} to {second}; off a '
            f'straight line by at most {100 * row["off_line"]:.0f} %')


PAGE = """# How cost grows

Measured with `tools/analysis_tools/cost_curves.py {command}`: {measured}.
Batch {batch_size} and {image_size}×{image_size} images where they do not vary.

Times per image (over scales and batches) or pixel (over images), divided by that of the first column: medians over the
rounds. *Largest step* is the largest ratio of neighbours: over {cliff} it is a cliff. *Off the line* is how far a time
is from the straight line over scales, images or pixels at most.
{tables}
![Times per unit](cost_curves.png)
"""


def page(report):
    """The Markdown page: relative times only, which say something of other machines too."""
    tables = ''
    for name in dict.fromkeys(row['curve'] for row in report['rows']):
        rows = [row for row in report['rows'] if row['curve'] == name]
        heads = ['model', 'path', *rows[0]['labels'], 'largest step', 'off the line']
        lines = [[row['model'], row['path'], *(f'{value:.2f}' for value in row['relative']),
                  f'{row["step"]:.2f} ({"→".join(map(str, row["step_at"]))})', f'{100 * row["off_line"]:.0f} %']
                 for row in rows]
        tables += f'\n## {name.capitalize()}\n\n{note(rows[0])}{markdown_table(heads, lines)}\n'
    return PAGE.format(command=report['command'], measured=MEASURED.format(**report), batch_size=report['batch_size'],
                       image_size=report['image_size'], cliff=CLIFF, tables=tables)


def note(row):
    """What to know of the scales: how equal the multiply-adds are."""
    if row['curve'] != 'scales':
        return ''
    least, most = min(row['macs']), max(row['macs'])
    return ('Res2Net-50 with each number of scales, of the width w whose multiply-adds come nearest to those of '
            f'ResNet-50, 1 (64w); they differ by {100 * (most / least - 1):.1f} % at most.\n\n')


def draw(rows, path):
    """Draw a panel for every curve."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    names = list(dict.fromkeys(row['curve'] for row in rows))
    figure, axes = plt.subplots(1, len(names), figsize=(4.5 * len(names), 4), squeeze=False, layout='constrained')
    for axis, name in zip(axes[0], names):
        here = [row for row in rows if row['curve'] == name]
        for row in here:
            axis.plot(row['x'], row['relative'], 'o-', markersize=4, label=f'{row["model"]}, {row["path"]}')
        axis.axhline(1, color='grey', linewidth=.8)
        axis.set(xlabel={'scales': 'scales', 'batch': 'images in a batch', 'image': 'side of the image'}[name],
                 ylabel=f'{UNITS[name]}, relative', xscale='log' if name == 'batch' else 'linear', ylim=(0, None))
        axis.set_xticks(here[0]['x'], here[0]['x'])
        axis.minorticks_off()
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
