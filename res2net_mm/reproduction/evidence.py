"""Res2Net beside ResNet, at equal cost and with several seeds, on data that everybody has.

Two datasets of small images: handwritten digits, which scikit-learn ships, and generated shapes of all sizes. Every run
is one of ``runs``, so it is trained once, goes on where it stopped, and leaves a line in a results file.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import cast

from ..datasets.digits import write_digits
from ..datasets.shapes import write_sizes
from ..utils.config import load_config
from .plans import RunSettings, row_config
from .results import Result
from .runs import Output, reproduce_table
from .tables import Row, read_tables

EVIDENCE_TABLES = Path(__file__).with_name('evidence.yml')

# Writers of image folders train/CLASS and val/CLASS, as mmpretrain's CustomDataset reads them, by the name of their
# table in evidence.yml.
DATASETS: dict[str, Callable[[Path], None]] = {'digits': write_digits, 'sizes': write_sizes}


def write_datasets(folder: Path, log: Callable[[str], None]) -> None:
    """Write the datasets that are missing into folders of their names."""
    for name, write in DATASETS.items():
        write_once(folder / name, write, log)


def write_once(root: Path, write: Callable[[Path], None], log: Callable[[str], None]) -> None:
    """Have ``write`` make a folder, unless it is there; never half of one."""
    if root.is_dir():
        return
    log(f'Making {root}')
    unfinished = root.with_name(f'.{root.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    write(unfinished)
    os.replace(unfinished, root)


# The runs.


@dataclass(frozen=True)
class Experiment:
    """A row of ``evidence.yml`` with its runs.

    Attributes:
        title (str): What its table is about.
        row (Row): The row.
        results (Sequence[Result]): A result for every seed, in the order of the seeds.
    """
    title: str
    row: Row
    results: Sequence[Result]

    @property
    def accuracies(self) -> list[float]:
        """Accuracies in %, by seed."""
        return [cast(float, result.measured['top1']) for result in self.results]

    @property
    def mean(self) -> float:
        """Mean of the accuracies in %."""
        return mean(self.accuracies)

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracies in %."""
        return stdev(self.accuracies)


def run_experiments(out: Path, seeds: int, schedule: str, device: str | None, output: Output) -> list[Experiment]:
    """Run every row of the datasets' tables with several seeds; the first that fails stops it.

    Args:
        out (Path): Folder with the datasets in ``data``; the runs go into its ``runs``.
        seeds (int): The seeds are 0 to ``seeds`` - 1.
        schedule (str): 'full', 'short' or 'smoke'.
        device (str | None): cpu, cuda or cuda:INDEX; None for a GPU if there is one.
        output (Output): Where progress is told.

    Returns:
        list[Experiment]: The rows with their results.

    Raises:
        ReproductionError: If a run failed.
    """
    tables, results = read_tables(EVIDENCE_TABLES), []
    for seed in range(seeds):
        settings = RunSettings(
            out=out / 'runs', schedule=schedule, device=device, options={'randomness.seed': seed},
            option_arguments=[f'randomness.seed={seed}'], stop_on_error=True)
        for name in DATASETS:
            data: dict[str | None, str] = {name: str((out / 'data' / name).resolve())}
            results = reproduce_table(tables[name], tables[name].runnable_rows, data, settings, output)
    return collect_experiments(results, schedule, seeds)


def collect_experiments(results: Sequence[Result], schedule: str, seeds: int) -> list[Experiment]:
    """Take the newest result of every row and seed.

    Args:
        results (Sequence[Result]): The results file.
        schedule (str): Only runs of this schedule count.
        seeds (int): Only the seeds 0 to ``seeds`` - 1 count.

    Returns:
        list[Experiment]: The rows of the datasets' tables that have a result.
    """
    tables, experiments = read_tables(EVIDENCE_TABLES), []
    for table in (tables[name] for name in DATASETS):
        for row in table.rows.values():
            of_row = [result for result in results if result.belongs_to(row)
                      and result.schedule == schedule and result.seed in range(seeds)]
            by_seed = {result.seed: result for result in sorted(of_row, key=lambda result: result.test.date)}
            if by_seed:
                runs = [by_seed[seed] for seed in range(seeds) if seed in by_seed]
                experiments.append(Experiment(table.title, row, runs))
    return experiments


# The report.


def model_cost(row: Row) -> tuple[int, int]:
    """Parameters and multiply-adds of a row's model at the size of its images."""
    from ..models.complexity import count
    cfg = load_config(row_config(row))
    return count(cfg.model.backbone, cfg.image_size, cfg.model.head.num_classes)


REPORT = """# Res2Net beside ResNet, without ImageNet

<!-- python tools/misc/evidence.py --seeds {seeds} -->

The paper's classification results need ImageNet or CIFAR-100. These two experiments need nothing: handwritten digits
that scikit-learn ships (1797 real images of 8 x 8 pixels, 599 of them held out), and generated shapes whose size
varies by a factor of 8 (2400 to train, 2000 held out). Res2Net-26 and ResNet-26 have multiply-adds that differ by less
than 3 % and the same recipe (`configs/_base_/small_images.py`).{caution}

Accuracy in % on the held-out images, after the last epoch:

{rows}

{gains}

The spread is the standard deviation over the seeds, which are the initial weights and the order of the images; data and
split are the same in all runs.

![Accuracy of every run]({figure})

Measured with `python tools/misc/evidence.py --seeds {seeds}`: {provenance}."""


def evidence_markdown(experiments: Sequence[Experiment], seeds: int, schedule: str, figure: str) -> str:
    """Format the report as Markdown.

    Args:
        experiments (Sequence[Experiment]): The rows with their results.
        seeds (int): Number of seeds.
        schedule (str): The schedule of the runs.
        figure (str): File name of the figure.

    Returns:
        str: The report.
    """
    caution = '' if schedule == 'full' else f'\n\n**Schedule {schedule}: a trial, not a result.**'
    rows = ['| data | model | M parameters | M multiply-adds | by seed | mean ± spread |', '|---|---|---|---|---|---|']
    for experiment in experiments:
        params, macs = model_cost(experiment.row)
        accuracies = ', '.join(f'{accuracy:.2f}' for accuracy in experiment.accuracies)
        rows.append(f'| {experiment.title} | {experiment.row.model} | {params / 1e6:.2f} | {macs / 1e6:.1f} | '
                    f'{accuracies} | {experiment.mean:.2f} ± {experiment.spread:.2f} |')
    return REPORT.format(seeds=seeds, rows='\n'.join(rows), gains='\n'.join(_gain_lines(experiments)), caution=caution,
                         figure=figure, provenance=_provenance_line(experiments)) + '\n'


def _gain_lines(experiments: Sequence[Experiment]) -> list[str]:
    by_row = {(experiment.row.table, experiment.row.name): experiment for experiment in experiments}
    lines = []
    for ours in experiments:
        if ours.row.twin:
            twin = by_row[ours.row.table, ours.row.twin]
            gain = ours.mean - twin.mean
            error = sqrt(ours.spread**2 / len(ours.results) + twin.spread**2 / len(twin.results))
            reading = ': no difference can be told from chance' if abs(gain) < 2 * error else ''
            lines.append(f'* {ours.title}: {ours.row.model} minus {twin.row.model} is {gain:+.2f}, with a standard '
                         f'error of {error:.2f}{reading}.')
    return lines


def _provenance_line(experiments: Sequence[Experiment]) -> str:
    results = [result for experiment in experiments for result in experiment.results]
    seconds = sum(result.train.seconds + result.test.seconds for result in results)
    devices = sorted({f'{result.train.device}, PyTorch {result.train.torch}, commit {result.train.commit}'
                      for result in results})
    dates = sorted(result.test.date[:10] for result in results)
    return (f'{"; ".join(devices)}; {dates[0]}{f" to {dates[-1]}" if dates[-1] != dates[0] else ""}; '
            f'{len(results)} runs in {seconds / 60:.0f} minutes')


def draw_evidence_figure(experiments: Sequence[Experiment], path: Path) -> None:
    """Draw every run as a dot, and mean and spread of the runs of a row as a bar with whiskers."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    titles = list(dict.fromkeys(experiment.title for experiment in experiments))
    figure, axes = plt.subplots(1, len(titles), figsize=(4 * len(titles), 3.5), layout='constrained', squeeze=False)
    for axis, title in zip(axes[0], titles):
        of_title = [experiment for experiment in experiments if experiment.title == title]
        for x, experiment in enumerate(of_title):
            colour, accuracies = f'C{x}', experiment.accuracies
            axis.errorbar(x, experiment.mean, experiment.spread, fmt='_', markersize=30, capsize=8, color=colour)
            axis.plot([x + 0.25] * len(accuracies), accuracies, 'o', color=colour, alpha=0.6)
        axis.set(title=title, ylabel='accuracy %', xlim=(-0.6, len(of_title) - 0.4), xticks=range(len(of_title)),
                 xticklabels=[experiment.row.model for experiment in of_title])
    figure.savefig(path, dpi=120)
    plt.close(figure)
