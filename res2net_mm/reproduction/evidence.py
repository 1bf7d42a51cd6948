"""Res2Net beside ResNet of equal cost, with several seeds, on data that anyone can get: the runs of ``evidence.yml``.

Every run is one of ``runs``: it is trained once, goes on where it stopped, and leaves a line in a results file. What is
published of it is that line, without the folders of the machine.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import cast

from ..datasets.digits import write_digits
from ..datasets.shapes import write_sizes
from ..utils.whole_file import whole_file, whole_folder
from .plans import Run, RunSettings, plan_run
from .results import Result, newest_by_seed
from .runs import Output, reproduce_table
from .tables import Row, Table

# Writers of image folders train/CLASS and val/CLASS, as mmpretrain's CustomDataset reads them, of the datasets that
# need no download; the others are laid out by tools/misc/prepare_data.py.
GENERATED: dict[str, Callable[[Path], None]] = {'digits': write_digits, 'sizes': write_sizes}


def write_datasets(folder: Path, names: Iterable[str], log: Callable[[str], None]) -> dict[str, str]:
    """Write those of the generated datasets that are missing.

    Args:
        folder (Path): Where they go, into folders of their names.
        names (Iterable[str]): Datasets; those that are not generated are left out.
        log (Callable[[str], None]): Takes lines on what is done.

    Returns:
        dict[str, str]: The folders by name.
    """
    folders = {name: folder / name for name in names if name in GENERATED}
    for name, path in folders.items():
        write_once(path, GENERATED[name], log)
    return {name: str(path.resolve()) for name, path in folders.items()}


def write_once(root: Path, write: Callable[[Path], None], log: Callable[[str], None]) -> None:
    """Have ``write`` make a folder, unless it is there; never half of one."""
    if root.is_dir():
        return
    log(f'Making {root}')
    with whole_folder(root) as unfinished:
        write(unfinished)


# 1. The runs.


def run_experiments(tables: Sequence[Table], data: Mapping[str, str], published: Sequence[Result], out: Path,
                    schedule: str, device: str | None, output: Output) -> list[Result]:
    """Run what is missing of tables of ``evidence.yml``: all rows with the first seed, then with the next.

    Args:
        tables (Sequence[Table]): The tables.
        data (Mapping[str, str]): Folders of the data by name, absolute.
        published (Sequence[Result]): Results of before, on whatever machine; their runs are left out.
        out (Path): Where the runs and their results go.
        schedule (str): 'full', 'short' or 'smoke'.
        device (str | None): cpu, cuda or cuda:INDEX; None for a GPU if there is one.
        output (Output): Where progress is told.

    Returns:
        list[Result]: All results of the results file.

    Raises:
        ReproductionError: If a run failed; those after it are left out.
    """
    results: list[Result] = []
    folders = cast('Mapping[str | None, str]', data)
    for seed in range(max(row.seeds for table in tables for row in table.runnable_rows)):
        settings = seed_settings(out, schedule, device, seed)
        for table in tables:
            rows = [row for row in table.runnable_rows if seed < row.seeds
                    and not is_measured(plan_run(row, folders.get(row.data), settings), published)]
            if rows:
                results = reproduce_table(table, rows, folders, settings, output)
    return results


def is_measured(run: Run, results: Sequence[Result]) -> bool:
    """Whether there is a result of a run, for its table."""
    return any((result.table, result.config_hash) == (run.row.table, run.config_hash) for result in results)


def seed_settings(out: Path, schedule: str, device: str | None, seed: int) -> RunSettings:
    """How the runs of a seed are run; arguments as those of ``run_experiments``."""
    return RunSettings(
        out=out, schedule=schedule, device=device, options={'randomness.seed': seed},
        option_arguments=[f'randomness.seed={seed}'], stop_on_error=True)


# 2. The results.


@dataclass(frozen=True)
class Experiment:
    """A row of ``evidence.yml`` with its results.

    Attributes:
        row (Row): The row.
        results (Mapping[int, Result]): The result of every seed that was run, in the order of the seeds.
    """
    row: Row
    results: Mapping[int, Result]

    def values(self, metric: str) -> dict[int, float]:
        """What was measured, by seed."""
        numbers = {seed: result.measured.get(metric) for seed, result in self.results.items()}
        return {seed: number for seed, number in numbers.items() if number is not None}


@dataclass(frozen=True)
class Difference:
    """Ours minus the twin, of runs with the same seed.

    Attributes:
        values (Sequence[float]): By seed.
    """
    values: Sequence[float]

    @property
    def mean(self) -> float:
        """The mean."""
        return mean(self.values)

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of the mean, by Student's t; infinite for one seed."""
        if len(self.values) < 2:
            return float('inf')
        from scipy.stats import t
        number = len(self.values)
        return float(t.ppf(0.975, number - 1)) * stdev(self.values) / sqrt(number)

    @property
    def is_told_from_chance(self) -> bool:
        """Whether the interval does not hold 0."""
        return abs(self.mean) > self.half_width


def paired_difference(ours: Experiment, twin: Experiment, metric: str) -> Difference | None:
    """Compare two rows seed by seed; None if no seed was run of both."""
    left, right = ours.values(metric), twin.values(metric)
    values = [left[seed] - right[seed] for seed in left if seed in right]
    return Difference(values) if values else None


def collect_experiments(table: Table, results: Sequence[Result], schedule: str) -> dict[str, Experiment]:
    """Take the newest result of every row and planned seed.

    Args:
        table (Table): The table.
        results (Sequence[Result]): Results of any kind.
        schedule (str): Only runs of this schedule count, which were run for this table: two may share their nets.

    Returns:
        dict[str, Experiment]: The rows that have a result, by name.
    """
    experiments = {}
    for row in table.rows.values():
        by_seed = newest_by_seed(result for result in results if result.belongs_to(row)
                                 and (result.schedule, result.table) == (schedule, table.name))
        found = {seed: by_seed[seed] for seed in range(row.seeds) if seed in by_seed}
        if found:
            experiments[row.name] = Experiment(row, found)
    return experiments


def publish_results(path: Path, new: Sequence[Result], old: Sequence[Result], tables: Iterable[Table]) -> list[Result]:
    """Add results to the published file, with the names of the datasets in place of their folders.

    Args:
        path (Path): The file, one line of JSON for each.
        new (Sequence[Result]): Results of a results file; those of other tables are left out.
        old (Sequence[Result]): What the published file has; nothing of it is taken out.
        tables (Iterable[Table]): The tables that are published.

    Returns:
        list[Result]: What the file has now, in the order of their dates.
    """
    rows = [row for table in tables for row in table.rows.values()]
    merged = {_identity(result): result for result in old}
    for result in new:
        row = next((row for row in rows if result.belongs_to(row) and result.table == row.table), None)
        if row:
            published = replace(result, data=row.data, train=replace(result.train, data=row.data))
            merged.setdefault(_identity(published), published)
    results = sorted(merged.values(), key=lambda result: result.test.date)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(''.join(json.dumps(asdict(result), allow_nan=False) + '\n' for result in results).encode())
    return results


def _identity(result: Result) -> tuple[str, str, str]:
    return result.table, result.config_hash, result.test.date
