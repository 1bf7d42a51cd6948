"""docs/evidence.md and its figures, from the published results and the plan in ``evidence.yml``."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import mean

from ..utils.config import load_config
from ..utils.text import markdown_table, mean_and_deviation
from .evidence import Difference, Experiment, collect_experiments, paired_difference
from .figure import draw_series_figure
from .plans import row_config
from .results import Result
from .tables import Metric, Row, Table

PANELS_OF_A_LINE = 4
DIFFERENCE_HEADS = ('difference', 'metric', 'mean', '95 % interval', 'by seed')

PAGE = """# Does Res2Net gain what the paper says, where we can measure it?

<!-- Written by python tools/misc/evidence.py --report-only, from {results}. Do not edit. -->

The paper's experiments need ImageNet, COCO and days on GPUs. These are its claims in small: Res2Net beside ResNet of
equal cost, twins that differ in the backbone alone, on public data, from random weights, with several seeds. The plan,
[evidence.yml]({plan}), with models, seeds and metrics was committed before the first run, and no run was left out or
repeated because of its result.{caution}

How to read it: *mean ±deviation* is of the seeds, which are the initial weights and the order of the images; data and
split are the same in all runs. A *difference* is taken between runs of the same seed, and has the 95 % interval of its
mean (Student's t). With three seeds such an interval is 4.3 standard errors wide on each side: only an effect that is
large beside the spread of the seeds leaves 0 outside. An interval that holds 0 does not say that there is no effect.
Several metrics of one experiment are not independent, and of twenty intervals one misses by chance. MAE is better the
smaller it is, all others the larger.

Again: `tools/misc/prepare_data.py` lays out the data, and

    python tools/misc/evidence.py --data cifar10=DIR ecssd=DIR kvasir=DIR bccd=DIR

runs what is missing and a CPU can do, and writes this page; a name, such as `ecssd`, or `cifar10_wide` on a GPU, runs
that alone, and so does `python tools/reproduce.py ecssd`.

{sections}
"""
SUMMARY = """## In short

By the first metric of each experiment; the sections below have the others. Twins cost about the same, and so
do the ends of a series (of scale, cardinality and depth), which cost more than its start; the tables say how much.

{differences}"""
NO_RESULTS = '**No run has ended yet.** The plan says what is going to be run.'
SECTION = """## {title}

{note}

{rows}

{differences}{figure}{conclusion}

{provenance}"""


def write_page(path: Path, tables: Sequence[Table], results: Sequence[Result], results_file: Path, schedule: str,
               plan: Path) -> list[Path]:
    """Write the page and its figures.

    Args:
        path (Path): The page.
        tables (Sequence[Table]): The tables in the order of the page; those without a result are left out.
        results (Sequence[Result]): The published results.
        results_file (Path): Their file; the figures go beside it.
        schedule (str): The schedule of the runs that count.
        plan (Path): The file of the tables.

    Returns:
        list[Path]: The figures.
    """
    sections, figures, first_differences = [], [], []
    for table in tables:
        experiments = collect_experiments(table, results, schedule)
        if experiments:
            figure = draw_figure(table, experiments, results, schedule, results_file.parent)
            link = f'![{table.title}]({relative(figure, path)})\n\n'
            figures.append(figure)
            first_differences += [(table.title, *line[:4], told) for line, told in difference_lines(
                experiments, tested(table)[:1])]
            sections.append(SECTION.format(
                title=table.title, note=table.note.strip(), rows=rows_table(table, experiments),
                differences=differences_table(table, experiments), figure=link,
                conclusion=conclusion(table, experiments), provenance=provenance_line(table, experiments)))
    if first_differences:
        heads = ('experiment', *DIFFERENCE_HEADS[:4], 'told from chance')
        sections.insert(0, SUMMARY.format(differences=markdown_table(heads, first_differences)))
    caution = '' if schedule == 'full' else f' **Schedule {schedule}: a trial, not a result.**'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAGE.format(results=relative(results_file, path), plan=relative(plan, path), caution=caution,
                                sections='\n\n'.join(sections) or NO_RESULTS).rstrip() + '\n', encoding='utf-8')
    return figures


def relative(file: Path, page: Path) -> str:
    """The path of a file as a link of a page."""
    return Path(os.path.relpath(file.resolve(), page.resolve().parent)).as_posix()


def model_cost(row: Row) -> tuple[int, int]:
    """Parameters and multiply-adds of a row's classifier, or of its backbone alone, at the size of its images."""
    from ..models.complexity import count
    cfg = load_config(row_config(row))
    cfg.merge_from_dict(dict(row.changes))
    size = cfg.get('image_size') or cfg.size[::-1]  # the latter is width and height
    head = cfg.model.get('head')
    return count(cfg.model.backbone, size, head.num_classes if head else 1)


def rows_table(table: Table, experiments: Mapping[str, Experiment]) -> str:
    """The models with their cost, and what was measured: mean ±deviation of every metric."""
    metrics = tested(table)
    lines = []
    for experiment in experiments.values():
        params, macs = model_cost(experiment.row)
        lines.append((experiment.row.model_name, f'{params / 1e6:.2f}', f'{macs / 1e6:.0f}', len(experiment.results),
                      *(mean_and_deviation(list(experiment.values(metric.name).values()), metric.decimals) or '-'
                        for metric in metrics)))
    return markdown_table(('model', 'M parameters', 'M multiply-adds', 'seeds', *(metric.label for metric in metrics)),
                          lines)


def tested(table: Table) -> list[Metric]:
    """The metrics that were measured of a trained net."""
    return [metric for metric in table.metrics.values() if metric.name != 'params_m']


def compared_pairs(experiments: Mapping[str, Experiment]) -> list[tuple[Experiment, Experiment]]:
    """What is compared, where both were run: models with their twins, and ours with the others at the ends of series.

    The end of a series is a point that has several seeds.
    """
    pairs = [(experiment, experiments[experiment.row.twin]) for experiment in experiments.values()
             if experiment.row.twin and experiment.row.twin in experiments
             and (experiment.row.seeds > 1 or not experiment.row.series)]
    ends = [experiment for experiment, _ in pairs if experiment.row.series]
    return pairs + [(ours, other) for ours in ends for other in ends
                    if (ours.row.role, other.row.role) == ('ours', 'baseline')]


def differences_table(table: Table, experiments: Mapping[str, Experiment]) -> str:
    """The differences of what is compared, metric by metric; '' if there are none."""
    lines = [line for line, _ in difference_lines(experiments, tested(table))]
    return markdown_table(DIFFERENCE_HEADS, lines) + '\n\n' if lines else ''


def difference_lines(experiments: Mapping[str, Experiment],
                     metrics: Sequence[Metric]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Of what is compared the lines below ``DIFFERENCE_HEADS``, and whether it is told from chance."""
    for ours, other in compared_pairs(experiments):
        for metric in metrics:
            difference = paired_difference(ours, other, metric.name)
            if difference:
                line = (f'{ours.row.model_name} minus {other.row.model_name}', metric.label,
                        f'{difference.mean:+.{metric.decimals}f}', format_interval(metric, difference),
                        ', '.join(f'{value:+.{metric.decimals}f}' for value in difference.values))
                told = 'one seed' if len(difference.values) == 1 else 'yes' if difference.is_told_from_chance else 'no'
                yield line, told


def format_interval(metric: Metric, difference: Difference) -> str:
    """'[-0.010, +0.020]'; '-' for one seed."""
    if len(difference.values) < 2:
        return '-'
    low, high = difference.mean - difference.half_width, difference.mean + difference.half_width
    return f'[{low:+.{metric.decimals}f}, {high:+.{metric.decimals}f}]'


def conclusion(table: Table, experiments: Mapping[str, Experiment]) -> str:
    """What can be concluded, in sentences: for every pair the metrics whose interval leaves out 0."""
    sentences = []
    for ours, other in compared_pairs(experiments):
        differences = {metric: paired_difference(ours, other, metric.name) for metric in tested(table)}
        known = {metric: difference for metric, difference in differences.items() if difference}
        number = max((len(difference.values) for difference in known.values()), default=0)
        pair = f'{ours.row.model_name} beside {other.row.model_name}'
        if number == 1:
            sentences.append(f'{pair}: one seed, so that nothing can be told from chance.')
        elif number:
            told = [f'{metric.label} ({difference.mean:+.{metric.decimals}f})'
                    for metric, difference in known.items() if difference.is_told_from_chance]
            not_told = [metric.label for metric, difference in known.items() if not difference.is_told_from_chance]
            clauses = []
            if told:
                clauses.append(f'a difference that chance alone would rarely make in {"; ".join(told)}')
            if not_told:
                clauses.append(f'no difference that can be told from chance in {"; ".join(not_told)}, where the ends '
                               'of the interval say how large an effect there may be in either direction')
            sentences.append(f'{pair}, {number} seeds: {"; and ".join(clauses)}.')
    if any(row.series and row.seeds == 1 for row in table.rows.values()):
        sentences.append('Points of one seed: the order of neighbours may be chance.')
    planned = sum(row.seeds for row in table.runnable_rows)
    ended = sum(len(experiment.results) for experiment in experiments.values())
    if ended < planned:
        sentences.append(f'**Unfinished**: {ended} of the {planned} runs of the plan have ended.')
    return ' '.join(sentences)


def provenance_line(table: Table, experiments: Mapping[str, Experiment]) -> str:
    """With what, when and for how long the runs ran; the nets of another table were trained for that one."""
    results = [result for experiment in experiments.values() for result in experiment.results.values()]
    seconds = sum(result.test.seconds + (0 if table.nets_of else result.train.seconds) for result in results)
    devices = sorted({f'{result.train.device}, PyTorch {result.train.torch}' for result in results})
    commits = sorted({(result.train.commit or 'unknown')[:12] for result in results})
    dates = sorted(result.test.date[:10] for result in results)
    return (f'Measured with `python tools/misc/evidence.py {table.name}`: {"; ".join(devices)}; commits '
            f'{", ".join(commits)}; {dates[0]}{f" to {dates[-1]}" if dates[-1] != dates[0] else ""}; {len(results)} '
            f'runs in {seconds / 3600:.1f} hours.')


def draw_figure(table: Table, experiments: Mapping[str, Experiment], results: Sequence[Result], schedule: str,
                folder: Path) -> Path:
    """Draw a table: its series, or else a panel for each of its metrics with every seed as a dot.

    Twins of one seed are joined by a line, for that is the difference that counts; a bar is the mean.
    """
    series = draw_series_figure(table, results, schedule, folder)
    if series:
        return series
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    metrics = tested(table)
    places = {name: x for x, name in enumerate(experiments)}
    columns = min(len(metrics), PANELS_OF_A_LINE)
    lines = ceil(len(metrics) / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(1 + 1.2 * len(places) * columns, 3.2 * lines),
                                layout='constrained', squeeze=False)
    for axis in axes.flat[len(metrics):]:
        axis.remove()
    for axis, metric in zip(axes.flat, metrics):
        for name, experiment in experiments.items():
            values, colour = list(experiment.values(metric.name).values()), f'C{places[name]}'
            axis.plot([places[name]] * len(values), values, 'o', color=colour)
            if values:
                axis.plot(places[name], mean(values), '_', markersize=30, color=colour)
        for ours, other in compared_pairs(experiments):
            left, right = other.values(metric.name), ours.values(metric.name)
            for seed in left.keys() & right.keys():
                axis.plot([places[other.row.name], places[ours.row.name]], [left[seed], right[seed]], '-', color='0.7',
                          linewidth=1, zorder=0)
        axis.set(ylabel=metric.label, xlim=(-0.6, len(places) - 0.4), xticks=range(len(places)))
        axis.set_xticklabels([experiment.row.model for experiment in experiments.values()], rotation=20)
    path = folder / f'{table.name}.png'
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
