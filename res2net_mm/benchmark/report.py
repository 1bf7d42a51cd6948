"""What ``tools/analysis_tools/benchmark.py`` makes of its rows: answers, a table, a page and a figure."""
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Sequence

from ..utils.text import markdown_table
from .classifiers import ClassifierReport, ClassifierRow
from .contenders import BASELINE, OURS, is_training
from .timing import MEASURED, ratio_of_times

if TYPE_CHECKING:
    from rich.table import Table

# 1. Answers to what is asked of a model.


COMPILERS = ('compile', 'onnxruntime', 'openvino')  # what makes other packages' models faster
BEST = "Inference at its best, beside timm's model at its best (torch.compile, ONNX Runtime, OpenVINO); aim: 1.00"
ALONE = "Inference by PyTorch alone, `accelerate`, beside other packages' eager models; aim: 0.71"
CLAIM = "At its best, beside ResNet-50 at its best; aim: the paper's ratio"
STEP = "A training step, beside other packages' `train`; aim: 0.80 on a CPU, 0.67 on a GPU"
MEMORY = 'Peak memory of such a step; aim: 0.62 on a CPU at batch 8, 0.70 on a GPU'


@dataclass(frozen=True)
class Goal:
    """A question to the benchmark, with its aim.

    Attributes:
        title (str): The question.
        answers (list[str]): A sentence a batch size and architecture; ratios of times are medians over the rounds.
    """

    title: str
    answers: list[str]


@dataclass(frozen=True)
class ComparedRows:
    """What there is of one architecture and batch size.

    Attributes:
        ours (list[ClassifierRow]): Our model, in every way.
        peers (list[ClassifierRow]): Other packages' models, in every way.
        baseline (list[ClassifierRow]): ResNet-50 from every source, in every way; empty for ResNet-50 itself.
    """

    ours: list[ClassifierRow]
    peers: list[ClassifierRow]
    baseline: list[ClassifierRow]


def answer_goals(rows: Sequence[ClassifierRow]) -> list[Goal]:
    """Answer the questions above, as far as what they compare was timed.

    Args:
        rows (Sequence[ClassifierRow]): The times.

    Returns:
        list[Goal]: Those that have an answer.
    """
    compared = []
    for batch_size, arch in dict.fromkeys((row.batch_size, row.arch) for row in rows):
        batch = [row for row in rows if row.batch_size == batch_size]
        arch_rows = [row for row in batch if row.arch == arch]
        compared.append(ComparedRows(
            ours=[row for row in arch_rows if row.source == OURS],
            peers=[row for row in arch_rows if row.source != OURS],
            baseline=[row for row in batch if row.arch == BASELINE] if arch != BASELINE else []))
    questions = ((BEST, _best_inference), (ALONE, _inference_alone), (CLAIM, _paper_claim), (STEP, _training_step),
                 (MEMORY, _training_memory))
    goals = [Goal(title, [line for group in compared for line in answer(group)]) for title, answer in questions]
    return [goal for goal in goals if goal.answers]


def _best_inference(group: ComparedRows) -> list[str]:
    peers = [row for row in group.peers if row.source == 'timm' and row.path in COMPILERS]
    return _compare(_fastest(_inference(group.ours)), [_fastest(peers)], _time_ratio)


def _inference_alone(group: ComparedRows) -> list[str]:
    ours = [row for row in group.ours if row.path == 'accelerate']
    return _compare(_fastest(ours), [row for row in group.peers if row.path == 'eager'], _time_ratio)


def _paper_claim(group: ComparedRows) -> list[str]:
    best = _fastest(_inference(group.ours))
    published = best and best.cost.published_ratio
    return _compare(best, [_fastest(_inference(group.baseline))], _time_ratio,
                    f'; paper {published:.2f}' if published else '')


def _training_step(group: ComparedRows) -> list[str]:
    steps = [row for row in group.ours if is_training(row.path)]
    return _compare(_fastest(steps), [row for row in group.peers if row.path == 'train'], _time_ratio)


def _training_memory(group: ComparedRows) -> list[str]:
    steps = [row for row in group.ours if is_training(row.path)]
    least = min(steps, key=_total_memory, default=None)
    peers = [row for row in group.peers if row.path == 'train']
    return [*_compare(least, peers, lambda row, peer: _total_memory(row) / _total_memory(peer)),
            *_compare(least, peers, lambda row, peer: _step_memory(row) / _step_memory(peer),
                      ', not counting weights, momentum and images')]


def _total_memory(row: ClassifierRow) -> int:
    assert row.memory is not None  # rows of training have it
    return row.memory


def _step_memory(row: ClassifierRow) -> int:
    assert row.step_memory is not None  # rows of training have it
    return row.step_memory


def _compare(row: ClassifierRow | None, peers: Sequence[ClassifierRow | None],
             share: Callable[[ClassifierRow, ClassifierRow], float], note: str = '') -> list[str]:
    """A sentence that compares a row with others; no sentence if there is nothing to compare."""
    timed = [peer for peer in peers if peer]
    if not row or not timed:
        return []
    shares = ', '.join(
        f'{share(row, peer):.2f} of {peer.source if peer.arch == row.arch else peer.arch}\'s ({peer.path})'
        for peer in timed)
    return [f'batch {row.batch_size}: {row.arch} ({row.path}) takes {shares}{note}']


def _inference(rows: Sequence[ClassifierRow]) -> list[ClassifierRow]:
    return [row for row in rows if not is_training(row.path)]


def _fastest(rows: Sequence[ClassifierRow]) -> ClassifierRow | None:
    return min(rows, key=lambda row: row.ms, default=None)


def _time_ratio(row: ClassifierRow, peer: ClassifierRow) -> float:
    return ratio_of_times(row.seconds, peer.seconds).median


# 2. The table.


HEADS = ('batch', 'model', 'of', 'path', 'params M', 'MACs G', 'ms', 'images/s', 'TFLOP/s', '% matmul', '% copy',
         '/ ResNet-50', 'paper', '/ ours', 'step MB', 'MB')
TIMES = ('ms', 'images/s', 'TFLOP/s')  # a CPU's say little about another's; its ratios do


def table_cells(row: ClassifierRow) -> tuple[str, ...]:
    """A row of the table as text, in the order of ``HEADS``; empty where there is no number."""

    def number(value, digits, unit=1.):
        return f'{value / unit:.{digits}f}' if value else ''

    return (str(row.batch_size), row.arch, row.source, row.path, number(row.cost.params, 2, 1e6),
            number(row.cost.macs, 2, 1e9), number(row.ms, 1), number(row.images_per_second, 1), number(row.tflops, 2),
            number(row.product_share, 0, .01), number(row.copy_share, 0, .01), str(row.to_baseline or ''),
            number(row.cost.published_ratio, 2), str(row.to_ours or ''), number(row.step_memory, 0, 1e6),
            number(row.memory, 0, 1e6))


def classifier_table(rows: Sequence[ClassifierRow]) -> Table:
    """A table for the terminal, without the columns that are empty."""
    from rich import box
    from rich.table import Table
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
                  title='Ratios of times: medians over the rounds ± half the quartile distance; under 1 is faster')
    texts = [table_cells(row) for row in rows]
    filled = [i for i in range(len(HEADS)) if any(text[i] for text in texts)]
    for i in filled:
        table.add_column(HEADS[i], justify='left' if HEADS[i] in ('model', 'of', 'path') else 'right', no_wrap=True)
    for text, following in zip(texts, [*texts[1:], texts[-1]]):
        table.add_row(*(text[i] for i in filled), end_section=text[0] != following[0])
    return table


# 3. The page.


PAGE = """# Running times

Measured with `tools/analysis_tools/benchmark.py {command}`: {measured}. {image_size}×{image_size} images.

*/ ResNet-50* and */ ours* are times divided by those of ResNet-50 from the same source in the same way, and by those of
our model: medians over the rounds ± half the distance of the quartiles; under 1 is faster. *Paper* is the ratio of
Table 3, measured on a GPU of 2019.

*% matmul* is the share of the rate at which this machine multiplies square matrices in the same type{product}, timed in
the same rounds; a training step counts as three forward passes. *% copy* is the share of the bandwidth of a
copy{copy}, counting no more than every convolution's input, output and weights, once each. *MB* is the peak memory of a
training step, with weights, momentum and images; *step MB* without those, which are there before it.
{goals}
## All

{table}
{left_out}{figure}"""


def classifiers_page(report: ClassifierReport) -> str:
    """The Markdown page of a report, without absolute times if they are a CPU's."""
    gpu = report.settings.device.type == 'cuda'
    ceilings = report.ceilings if gpu else None
    kept = [i for i, head in enumerate(HEADS) if gpu or head not in TIMES]
    table = markdown_table([HEADS[i] for i in kept], [[table_cells(row)[i] for i in kept] for row in report.rows])
    goals = answer_goals(report.rows)
    return PAGE.format(
        command=report.settings.command, measured=MEASURED.format(**report.provenance), image_size=report.image_size,
        table=table, product=f', {ceilings.product_tflops:.0f} TFLOP/s' if ceilings else '',
        copy=f', {ceilings.copy_gbs:.0f} GB/s read and written' if ceilings else '',
        goals='\n## Goals\n' * bool(goals) + ''.join(
            f'\n{goal.title}:\n\n' + ''.join(f'* {line}\n' for line in goal.answers) for goal in goals),
        left_out=''.join(f'\nLeft out: {line}.\n' for line in report.left_out),
        figure='\n![Times relative to ResNet-50](benchmark.png)\n' if beside_baseline(report.rows) else '')


def write_classifier_report(report: ClassifierReport, folder: Path) -> list[Path]:
    """Write benchmark.json and benchmark.md, and benchmark.png if there was a ResNet-50, into a folder that exists.

    Returns:
        list[Path]: The files.
    """
    written = [folder / f'benchmark.{suffix}' for suffix in ('json', 'md', 'png')]
    written[0].write_text(json.dumps(report.to_json(), indent=1) + '\n')
    written[1].write_text(classifiers_page(report), encoding='utf-8')
    if not beside_baseline(report.rows):
        return written[:2]
    draw_classifiers(report.rows, written[2])
    return written


def beside_baseline(rows: Sequence[ClassifierRow]) -> list[ClassifierRow]:
    """The rows that have a ratio to ResNet-50, without itself."""
    return [row for row in rows if row.arch != BASELINE and row.to_baseline]


# 4. The figure.


def draw_classifiers(rows: Sequence[ClassifierRow], path: str | Path) -> None:
    """Draw the ratios to ResNet-50, a panel for every batch size, beside the paper's.

    Args:
        rows (Sequence[ClassifierRow]): The times, with one beside ResNet-50's at least.
        path (str | Path): The PNG file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    batch_sizes = list(dict.fromkeys(row.batch_size for row in rows))
    shown = beside_baseline(rows)
    archs = list(dict.fromkeys(row.arch for row in shown))
    ways = list(dict.fromkeys((row.source, row.path) for row in shown))
    width = .8 / max(len(ways), 1)
    colours = plt.get_cmap('tab10' if len(ways) <= 10 else 'tab20')
    figure, axes = plt.subplots(len(batch_sizes), figsize=(max(8, 2 + .2 * len(archs) * len(ways)),
                                                           3.2 * len(batch_sizes)), squeeze=False, layout='constrained')
    for axis, batch_size in zip(axes[:, 0], batch_sizes):
        panel = [row for row in shown if row.batch_size == batch_size]
        for i, way in enumerate(ways):
            bars = [row for row in panel if (row.source, row.path) == way]
            ratios = [row.to_baseline for row in bars if row.to_baseline]
            spread = [[ratio.median - ratio.low for ratio in ratios], [ratio.high - ratio.median for ratio in ratios]]
            places = [archs.index(row.arch) + (i - (len(ways) - 1) / 2) * width for row in bars]
            axis.bar(places, [ratio.median for ratio in ratios], width, yerr=spread, capsize=2, color=colours(i))
        published = {archs.index(row.arch): row.cost.published_ratio for row in panel if row.cost.published_ratio}
        if published:
            axis.hlines(list(published.values()), [i - .45 for i in published], [i + .45 for i in published],
                        colors='black', linestyles='dashed')
        axis.axhline(1, color='grey', linewidth=.8)
        axis.set(title=f'batch {batch_size}', ylabel='time relative to ResNet-50', xlim=(-.5, len(archs) - .5))
        axis.set_xticks(range(len(archs)), archs, fontsize=8)
    handles: list[Patch | Line2D] = [Patch(color=colours(i), label=', '.join(way)) for i, way in enumerate(ways)]
    handles.append(Line2D([], [], color='black', linestyle='dashed', label='paper, Table 3'))
    figure.legend(handles=handles, loc='outside lower center', fontsize=8, ncols=4)
    figure.savefig(path, dpi=110)
    plt.close(figure)
