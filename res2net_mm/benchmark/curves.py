"""How running time grows with the scales, the batch and the image.

A model should cost what it computes: as much with any number of scales if the multiply-adds are equal, and in
proportion to images and pixels, besides what every call costs. So it is timed along three curves, and two numbers say
of each whether that holds: how far the times are from a straight line, and the largest step between neighbours in the
time per image or pixel. A step up of more than a quarter is called a cliff.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Callable, Sequence

import numpy as np
import torch

from ..models.complexity import classifier, count
from ..models.names import resolve
from ..utils.text import markdown_table
from .contenders import BASELINE, CLASSES, no_progress, prepare_run, random_batch
from .timing import MEASURED, MeasuringSettings, ratio_of_times, time_rounds

CLIFF = 1.25
UNITS = {'scales': 'time per image', 'batch': 'time per image', 'image': 'time per pixel'}


# 1. What is timed.


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve.

    Attributes:
        x (int): The number of scales, the batch size, or the side of the image.
        label (str): ``x`` as text, with what else varies.
        backbone (dict): Config of the backbone.
        batch_size (int): Images in a batch.
        image_size (int): Side of the image in pixels.
    """

    x: int
    label: str
    backbone: dict
    batch_size: int
    image_size: int


def curve_over_scales(scales: Sequence[int], batch_size: int, image_size: int) -> dict[str, list[CurvePoint]]:
    """Res2Net-50 with each number of scales at equal multiply-adds.

    Args:
        scales (Sequence[int]): Numbers of scales.
        batch_size (int): Images in a batch.
        image_size (int): Side of the image in pixels.

    Returns:
        dict[str, list[CurvePoint]]: Points by the name of the model, in order.

    Raises:
        ValueError: If there are less than two points.
    """
    scales = _curve_values('scales', scales)
    backbones = [backbone_of_equal_cost(value) for value in scales]
    return {'Res2Net-50': [CurvePoint(value, f'{value} ({backbone["base_width"]}w)', backbone, batch_size, image_size)
                           for value, backbone in zip(scales, backbones)]}


def curve_over_batches(archs: Sequence[str], batch_sizes: Sequence[int],
                       image_size: int) -> dict[str, list[CurvePoint]]:
    """Architectures with each batch size; arguments, result and errors are as those of the other curves.

    Raises:
        ValueError: If there are less than two points, or there is no such architecture.
    """
    batch_sizes = _curve_values('batch-sizes', batch_sizes)
    return {arch: [CurvePoint(value, str(value), resolve(arch).config, value, image_size) for value in batch_sizes]
            for arch in archs}


def curve_over_images(archs: Sequence[str], image_sizes: Sequence[int], batch_size: int) -> dict[str, list[CurvePoint]]:
    """Architectures with each image size; arguments, result and errors are as those of the other curves.

    Raises:
        ValueError: If there are less than two points, or there is no such architecture.
    """
    image_sizes = _curve_values('image-sizes', image_sizes)
    return {arch: [CurvePoint(value, str(value), resolve(arch).config, batch_size, value) for value in image_sizes]
            for arch in archs}


def _curve_values(option: str, values: Sequence[int]) -> list[int]:
    values = sorted(set(values))
    if len(values) < 2:
        raise ValueError(f'--{option} {values[0]}: a curve has two points and more')
    return values


def backbone_of_equal_cost(scales: int) -> dict:
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


@dataclass(frozen=True)
class Growth:
    """How the times along a curve grow.

    Attributes:
        relative (list[float]): The time per unit of every point divided by that of the first.
        step (float): The largest ratio of such times of neighbours.
        step_at (list[int]): The places of these two neighbours.
        off_line (float): By which part of itself a time is off the straight line through all, at most. The line is over
            the scales, images or pixels.
    """

    relative: list[float]
    step: float
    step_at: list[int]
    off_line: float


@dataclass(frozen=True)
class CurveRow:
    """The times of a model along a curve.

    Attributes:
        curve (str): A key of ``UNITS``.
        model (str): Name of the model.
        path (str): How it runs: a key of ``PATHS``.
        x (list[int]): Places of the points.
        labels (list[str]): Of the points.
        macs (list[int]): Multiply-adds of a batch at every point.
        seconds (list[list[float]]): Of every point in every round.
        growth (Growth): What the curve says.
    """

    curve: str
    model: str
    path: str
    x: list[int]
    labels: list[str]
    macs: list[int]
    seconds: list[list[float]]
    growth: Growth

    def to_json(self) -> dict:
        """As cost_curves.json has it."""
        row = asdict(self)
        return dict(row, **row.pop('growth'))

    def verdict(self) -> str:
        """What the row says, in a sentence."""
        step, (first, second) = self.growth.step, self.growth.step_at
        return (f'{self.curve}, {self.model}, {self.path}: {"CLIFF" if step > CLIFF else "no cliff"}; the largest step '
                f'up of the {UNITS[self.curve]} is {step:.2f}, from {first} to {second}; off a straight line by at '
                f'most {100 * self.growth.off_line:.0f} %')


def measure_curve(curve: str, models: dict[str, list[CurvePoint]], paths: Sequence[str], settings: MeasuringSettings,
                  progress: Callable[[], None] = no_progress) -> list[CurveRow]:
    """Time all points of a curve in the same rounds.

    Args:
        curve (str): A key of ``UNITS``.
        models (dict[str, list[CurvePoint]]): Points by the name of the model.
        paths (Sequence[str]): Keys of ``PATHS``.
        settings (MeasuringSettings): Where and how often.
        progress (Callable): Called after every point that is built. Defaults to doing nothing.

    Returns:
        list[CurveRow]: A row for every model and path.
    """
    lines = [(model, path) for model in models for path in paths]
    runs = []
    for model, path in lines:
        for point in models[model]:
            torch.manual_seed(0)
            batch = random_batch(point.batch_size, point.image_size, settings)
            runs.append(prepare_run(classifier(point.backbone, CLASSES), path, batch))
            progress()
    all_seconds = iter(time_rounds(runs, settings.rounds))
    rows = []
    for model, path in lines:
        points = models[model]
        seconds = [next(all_seconds) for _ in points]
        macs = [count(point.backbone, point.image_size, CLASSES)[1] * point.batch_size for point in points]
        rows.append(CurveRow(curve, model, path, [point.x for point in points], [point.label for point in points], macs,
                             seconds, measure_growth(curve, [point.x for point in points], seconds)))
    return rows


def measure_growth(curve: str, x: Sequence[int], seconds: Sequence[Sequence[float]]) -> Growth:
    """Say how the times along a curve grow.

    Args:
        curve (str): A key of ``UNITS``.
        x (Sequence[int]): Places of its points.
        seconds (Sequence[Sequence[float]]): The seconds of every point in every round.

    Returns:
        Growth: Its numbers.
    """
    amounts = [{'scales': 1, 'batch': value, 'image': value**2}[curve] for value in x]
    along = x if curve == 'scales' else amounts

    def per_unit(i, j):
        return ratio_of_times(seconds[i], seconds[j]).median * amounts[j] / amounts[i]

    step, at = max((per_unit(i + 1, i), i) for i in range(len(x) - 1))
    times = np.array([median(values) for values in seconds])
    line = np.polyval(np.polyfit(along, times, 1, w=1 / times), along)
    return Growth([per_unit(i, 0) for i in range(len(x))], step, [x[at], x[at + 1]],
                  float(np.abs(times / line - 1).max()))


# 3. Results.


@dataclass(frozen=True)
class CurveReport:
    """The results of a benchmark along curves.

    Attributes:
        settings (MeasuringSettings): Where and how often things were timed.
        batch_size (int): Images in a batch, where it does not vary.
        image_size (int): Side of the image in pixels, where it does not vary.
        rows (list[CurveRow]): The times.
    """

    settings: MeasuringSettings
    batch_size: int
    image_size: int
    rows: list[CurveRow]


PAGE = """# How cost grows

Measured with `tools/analysis_tools/cost_curves.py {command}`: {measured}.
Batch {batch_size} and {image_size}×{image_size} images where they do not vary.

Times per image (over scales and batches) or pixel (over images), divided by that of the first column: medians over the
rounds. *Largest step* is the largest ratio of neighbours: over {cliff} it is a cliff. *Off the line* is how far a time
is from the straight line over scales, images or pixels at most.
{tables}
![Times per unit](cost_curves.png)
"""


def cost_curves_page(report: CurveReport, provenance: dict) -> str:
    """The Markdown page: relative times only, which say something of other machines too.

    Args:
        report (CurveReport): The times.
        provenance (dict): What ``settings.describe`` returns.
    """
    tables = ''
    for curve in dict.fromkeys(row.curve for row in report.rows):
        rows = [row for row in report.rows if row.curve == curve]
        heads = ['model', 'path', *rows[0].labels, 'largest step', 'off the line']
        lines = [[row.model, row.path, *(f'{value:.2f}' for value in row.growth.relative),
                  f'{row.growth.step:.2f} ({"→".join(map(str, row.growth.step_at))})',
                  f'{100 * row.growth.off_line:.0f} %'] for row in rows]
        tables += f'\n## {curve.capitalize()}\n\n{_scales_note(rows[0])}{markdown_table(heads, lines)}\n'
    return PAGE.format(command=report.settings.command, measured=MEASURED.format(**provenance),
                       batch_size=report.batch_size, image_size=report.image_size, cliff=CLIFF, tables=tables)


def _scales_note(row: CurveRow) -> str:
    """What to know of the scales: how equal the multiply-adds are."""
    if row.curve != 'scales':
        return ''
    least, most = min(row.macs), max(row.macs)
    return ('Res2Net-50 with each number of scales, of the width w whose multiply-adds come nearest to those of '
            f'ResNet-50, 1 (64w); they differ by {100 * (most / least - 1):.1f} % at most.\n\n')


def write_curve_report(report: CurveReport, folder: Path) -> list[Path]:
    """Write cost_curves.json, cost_curves.md and cost_curves.png into a folder, which exists; return the files."""
    written = [folder / f'cost_curves.{suffix}' for suffix in ('json', 'md', 'png')]
    provenance = report.settings.describe()
    content = dict(provenance, batch_size=report.batch_size, image_size=report.image_size,
                   rows=[row.to_json() for row in report.rows])
    written[0].write_text(json.dumps(content, indent=1) + '\n')
    written[1].write_text(cost_curves_page(report, provenance), encoding='utf-8')
    draw_cost_curves(report.rows, written[2])
    return written


def draw_cost_curves(rows: Sequence[CurveRow], path: str | Path) -> None:
    """Draw a panel for every curve.

    Args:
        rows (Sequence[CurveRow]): The times.
        path (str | Path): The PNG file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    curves = list(dict.fromkeys(row.curve for row in rows))
    figure, axes = plt.subplots(1, len(curves), figsize=(4.5 * len(curves), 4), squeeze=False, layout='constrained')
    for axis, curve in zip(axes[0], curves):
        panel = [row for row in rows if row.curve == curve]
        for row in panel:
            axis.plot(row.x, row.growth.relative, 'o-', markersize=4, label=f'{row.model}, {row.path}')
        axis.axhline(1, color='grey', linewidth=.8)
        axis.set(xlabel={'scales': 'scales', 'batch': 'images in a batch', 'image': 'side of the image'}[curve],
                 ylabel=f'{UNITS[curve]}, relative', xscale='log' if curve == 'batch' else 'linear', ylim=(0, None))
        axis.set_xticks(panel[0].x, panel[0].x)
        axis.minorticks_off()
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
