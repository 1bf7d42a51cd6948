"""The file of measured results: one line of JSON for every test of a row of a table."""
from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from .tables import Metric, Row

# What a line of the results file must have to be put beside the paper.
RESULT_KEYS = {'config', 'config_hash', 'setting', 'schedule', 'from_scratch', 'data', 'options', 'train', 'test',
               'measured'}


@dataclass(frozen=True)
class RunRecord:
    """When, with what and on what a training or a test ran.

    Attributes:
        date (str): Date and time in UTC, ISO 8601.
        commit (str | None): The code's commit, with ' dirty' after it if files had changed. Defaults to None.
        version (str): The package's version. Defaults to ''.
        torch (str): PyTorch's version. Defaults to ''.
        device (str): Name of the device. Defaults to ''.
        devices (int): How many there were. Defaults to 1.
        seconds (float): How long it took. Defaults to 0.
    """
    date: str
    commit: str | None = None
    version: str = ''
    torch: str = ''
    device: str = ''
    devices: int = 1
    seconds: float = 0.


@dataclass(frozen=True)
class TrainingAttempt(RunRecord):
    """One start of a training; it is written down before the training begins, and again when it ends.

    Attributes:
        finished (bool): Whether it came to the end of the training. Defaults to True.
        batch_size (int | None): Images per iteration over all devices. Defaults to None: the config does not say.
        data (str | None): Folder of the data. Defaults to None: the config does not say.
        experiment_hash (str): Of the config without its batch. Defaults to '', of a version that did not know it.
    """
    finished: bool = True
    batch_size: int | None = None
    data: str | None = None
    experiment_hash: str = ''


@dataclass(frozen=True)
class TrainingRecord(TrainingAttempt):
    """A whole training: the last of its attempts, with the seconds of all.

    Attributes:
        attempts (int): How many starts there were. Defaults to 1.
    """
    attempts: int = 1


@dataclass(frozen=True)
class Result:
    """One line of a results file.

    Attributes:
        table (str): Name of the table for which it was run; '' if the line does not say, as for all that follows.
        row (str): Name of the row.
        model (str): The row's model.
        split (str | None): The row's width and scale.
        setting (str | None): How it was tested, for tables with several settings.
        config (str): File name of the config.
        changes (Mapping[str, Any]): What the row changes in the config, by dotted key.
        config_hash (str): Hash of what makes it this run, see ``identity.py``.
        schedule (str): 'full', 'short' or 'smoke'.
        from_scratch (bool): Whether all weights were random in the beginning.
        options (list[str]): Further changes of the config, KEY=VALUE.
        data (str | None): Folder of the data.
        seed (int | None): Random seed.
        batch_size (int | None): Images per iteration of the training over all its devices.
        recipe_batch_size (int | None): The same in the recipe.
        train (TrainingRecord): The training.
        test (RunRecord): The test.
        measured (Mapping[str, float | None]): Numbers by metric, in the paper's units; None where there was nothing to
            evaluate.
        paper (Mapping[str, float]): The paper's numbers by metric.
    """
    table: str
    row: str
    model: str
    split: str | None
    setting: str | None
    config: str
    changes: Mapping[str, Any]
    config_hash: str
    schedule: str
    from_scratch: bool
    options: list[str]
    data: str | None
    seed: int | None
    batch_size: int | None
    recipe_batch_size: int | None
    train: TrainingRecord
    test: RunRecord
    measured: Mapping[str, float | None]
    paper: Mapping[str, float]

    @property
    def kind(self) -> str:
        """The kind of run: 'full', 'short, from scratch', ..."""
        return kind_of_run(self.schedule, self.from_scratch)

    @property
    def options_but_seed(self) -> list[str]:
        """The options without the random seed, which all runs of an experiment share."""
        return [option for option in self.options if not option.startswith('randomness.seed=')]

    def belongs_to(self, row: Row) -> bool:
        """Whether the result is of a row: of its config with its changes, whatever the table it was run for."""
        return bool(row.config and self.config == Path(row.config).name and self.changes == row.changes)


Record = TypeVar('Record', RunRecord, TrainingAttempt, TrainingRecord, Result)


def read_results(path: str | Path, warn: Callable[[str], None]) -> list[Result]:
    """Read a results file.

    Args:
        path (str | Path): The file, one JSON object a line; if there is none, there are no results.
        warn (Callable[[str], None]): Is told of every line that is left out because it is not a result.

    Returns:
        list[Result]: The results in the order of the file.
    """
    path = Path(path)
    results = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        try:
            values = json.loads(line)
            missing = RESULT_KEYS - set(values)
            if not missing:
                results.append(_parse_result(values))
        except (ValueError, TypeError, AttributeError) as error:
            warn(f'{path}, line {number} is left out: it is not a result ({error})')
            continue
        if missing:
            warn(f'{path}, line {number} is left out: it has no {", ".join(sorted(missing))}')
    return results


def _parse_result(values: dict[str, Any]) -> Result:
    # Lines of older versions have no changes.
    absent: dict[str, Any] = dict(table='', row='', model='', split=None, changes={}, seed=None, batch_size=None,
                  recipe_batch_size=None, paper={})
    values = {**absent, **values}
    if 'batch_size' not in values['train'] and values['batch_size']:
        # Older versions multiplied the batch of a device by the devices of the test.
        per_device = values['batch_size'] // values['test'].get('devices', 1)
        values['batch_size'] = per_device * values['train'].get('devices', 1)
    values['train'] = parse_record(TrainingRecord, values['train'])
    values['test'] = parse_record(RunRecord, values['test'])
    return parse_record(Result, values)


def parse_record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Make a dataclass of those values of a dict that are its fields."""
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})


def append_result(path: str | Path, result: Result) -> None:
    """Add a line to a results file.

    It is written in one piece, is on the disk on return, and is never put onto half a line left by a crash.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(result), allow_nan=False).encode() + b'\n'
    with open(path, 'ab+', buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b'\n':
                line = b'\n' + line
        file.write(line)
        os.fsync(file.fileno())


def measured_numbers(metrics: Mapping[str, Metric], log: Mapping[str, float],
                     setting: str | None = None) -> dict[str, float | None]:
    """Take the metrics that the log of a test holds.

    Args:
        metrics (Mapping[str, Metric]): Metrics by name.
        log (Mapping[str, float]): What the test reported.
        setting (str | None): The setting that was tested. Defaults to None.

    Returns:
        dict[str, float | None]: Numbers by name of the metric, in the paper's units; None where there was nothing to
        evaluate.
    """
    numbers = {}
    for name, metric in metrics.items():
        value = log.get(metric.log_key(setting))
        if value is not None:
            # COCO's evaluation says -1 where there are no objects of a size.
            nothing = value == -1 or math.isnan(value)
            numbers[name] = None if nothing else round(metric.plus + metric.times * value, 6)
    return numbers


def newest_result(results: Sequence[Result], row: Row, setting: str | None,
                  like: Result | None = None) -> Result | None:
    """The newest result of a row in a setting; with ``like`` the newest one of the same data and options."""
    candidates = [result for result in results if result.belongs_to(row) and result.setting == setting
                  and (like is None or (result.data, result.options) == (like.data, like.options))]
    return max(candidates, key=lambda result: result.test.date, default=None)


def newest_by_seed(results: Iterable[Result]) -> dict[int | None, Result]:
    """The newest of the results of every seed, for results that differ in the seed alone."""
    return {result.seed: result for result in sorted(results, key=lambda result: result.test.date)}


def kind_of_run(schedule: str, from_scratch: bool) -> str:
    """The kind of a run: 'full', 'short, from scratch', ..."""
    return schedule + (', from scratch' if from_scratch else '')


def kind_caution(kind: str) -> str:
    """What a reader must know about the numbers of a kind of run; '' for the full schedule."""
    return '' if kind == 'full' else f'Schedule {kind}: NOT comparable with the paper, whose schedule is the full one.'
