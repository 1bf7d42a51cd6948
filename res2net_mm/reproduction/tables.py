"""The paper's tables of published numbers (``tables.yml``)."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).with_name('tables.yml')
EVIDENCE_TABLES = Path(__file__).with_name('evidence.yml')  # experiments that the paper does not have
ROLES = ('baseline', 'ours', 'gain')


@dataclass(frozen=True)
class Metric:
    """A column of a table.

    Attributes:
        name (str): Its name in ``tables.yml``.
        label (str): Its name in what people read.
        log (str): Its name in the log of a test, with '{setting}' for the name of the setting; '' if no test reports
            it. Defaults to ''.
        times (float): Factor from the log to the paper's unit. Defaults to 1.
        plus (float): What is added after that. Defaults to 0.
        decimals (int): Decimals that are printed. Defaults to 1.
    """
    name: str
    label: str
    log: str = ''
    times: float = 1
    plus: float = 0
    decimals: int = 1

    def log_key(self, setting: str | None) -> str:
        """The metric's name in the log of ``tools/test.py`` in one setting."""
        return self.log.format(setting=setting)


@dataclass(frozen=True)
class Row:
    """A model of a table with its published numbers.

    Attributes:
        table (str): Name of the table.
        name (str): Name of the row.
        model (str): The model, as the paper writes it.
        role (str): 'baseline', 'ours', or 'gain' for a line of differences.
        data (str | None): Name of the dataset.
        split (str | None): Width and scale, such as '26w4s'.
        twin (str | None): Name of the row to compare with.
        config (str | None): The config that measures the same; None as long as there is none.
        changes (Mapping[str, Any]): What the row changes in its config, by dotted key.
        series (tuple[str, ...]): The lines of the table's figure that the row is a point of.
        seeds (int): The experiment is done with the seeds from 0 to this number, exclusive.
        paper (Mapping[str | None, Mapping[str, float]]): The paper's numbers by setting and metric.
        official (Mapping[str | None, Mapping[str, float]]): The same of the authors' repositories.
    """
    table: str
    name: str
    model: str
    role: str
    data: str | None
    split: str | None
    twin: str | None
    config: str | None
    changes: Mapping[str, Any]
    series: tuple[str, ...]
    seeds: int
    paper: Mapping[str | None, Mapping[str, float]]
    official: Mapping[str | None, Mapping[str, float]]

    @property
    def full_name(self) -> str:
        """The row's name after the table's: 'table8/r50'."""
        return f'{self.table}/{self.name}'

    @property
    def model_name(self) -> str:
        """The model with its width and scale: 'Res2Net-50 26w4s'."""
        return ' '.join(filter(None, (self.model, self.split)))

    @property
    def published_metrics(self) -> set[str]:
        """Names of the metrics that have a published number in any setting."""
        return {metric for source in (self.paper, self.official) for numbers in source.values() for metric in numbers}


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        name (str): Its name in ``tables.yml``.
        title (str): What it is about.
        note (str): What to know before comparing; '' for nothing.
        settings (Mapping[str | None, str | None]): The tests of each model by name, with the file in the data folder
            that only this one needs, or None; {None: None} for a table with one test.
        metrics (Mapping[str, Metric]): The columns by name, in their order.
        rows (Mapping[str, Row]): The rows by name, in their order.
        all_metrics (Mapping[str, Metric]): All metrics of the file, also those of other tables.
        needs_gpu (bool): Whether it is too much for a CPU. Defaults to False.
        nets_of (str): The table whose trained nets it measures; '' if it trains its own. Defaults to ''.
    """
    name: str
    title: str
    note: str
    settings: Mapping[str | None, str | None]
    metrics: Mapping[str, Metric]
    rows: Mapping[str, Row]
    all_metrics: Mapping[str, Metric]
    needs_gpu: bool = False
    nets_of: str = ''

    @property
    def models(self) -> list[Row]:
        """The rows that are of a model, not of differences."""
        return [row for row in self.rows.values() if row.role != 'gain']

    @property
    def runnable_rows(self) -> list[Row]:
        """The rows that have a config."""
        return [row for row in self.models if row.config]

    def twin_of(self, row: Row) -> Row | None:
        """The row that a row is compared with."""
        return self.rows[row.twin] if row.twin else None


def read_tables(path: str | Path = TABLES) -> dict[str, Table]:
    """Read tables of published numbers.

    Args:
        path (str | Path): A YAML file; the head of ``tables.yml`` explains its form. Metrics that it does not define
            are those of ``tables.yml``. Defaults to the paper's tables.

    Returns:
        dict[str, Table]: Tables by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not of that form.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"file of tables '{path}' does not exist")
    try:
        tables = yaml.safe_load(path.read_text(encoding='utf-8'))
        metrics = tables.pop('metrics', {})
        if path != TABLES:
            metrics = {**yaml.safe_load(TABLES.read_text(encoding='utf-8'))['metrics'], **metrics}
        metrics = {name: Metric(name, **metric) for name, metric in metrics.items()}
        return {name: _parse_table(name, table, metrics) for name, table in tables.items()}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a file of tables: {type(error).__name__}: {error}') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def published_number(row: Row, setting: str | None, metric: str) -> tuple[float | None, str]:
    """The published number of a row, and where it is from.

    Args:
        row (Row): The row.
        setting (str | None): Name of the setting.
        metric (str): Name of the metric.

    Returns:
        tuple[float | None, str]: The paper's number and '', or else that of the authors' repository and '*', or None
        and ''.
    """
    for source, star in ((row.paper, ''), (row.official, '*')):
        number = source.get(setting, {}).get(metric)
        if number is not None:
            return number, star
    return None, ''


def _parse_table(name: str, table: dict[str, Any], metrics: Mapping[str, Metric]) -> Table:
    unknown = set(table['columns']) - set(metrics)
    if unknown:
        raise ValueError(f'{name}: columns {", ".join(sorted(unknown))} are not among the metrics')
    settings = table.get('settings') or {None: None}
    rows = {key: _parse_row(name, key, row, table, settings) for key, row in table['rows'].items()}
    for row in rows.values():
        if row.twin and row.twin not in rows:
            raise ValueError(f'{name}, row {row.name}: its twin {row.twin!r} is not a row of {name}')
    columns = {column: metrics[column] for column in table['columns']}
    return Table(name, table['title'], table.get('note', ''), settings, columns, rows, metrics,
                 table.get('needs_gpu', False), table.get('nets_of', ''))


def _parse_row(table_name: str, name: str, row: dict[str, Any], table: dict[str, Any],
               settings: Mapping[str | None, str | None]) -> Row:
    columns, where = table['columns'], f'{table_name}, row {name}'
    row = {'split': None, 'twin': None, 'config': None, 'changes': {}, 'series': [], 'paper': None, 'official': None,
           'data': table.get('data'), 'seeds': table.get('seeds', 1), **row}
    row['series'] = [row['series']] if isinstance(row['series'], str) else row['series']
    if row['role'] not in ROLES:
        raise ValueError(f'{where}: role {row["role"]!r} must be one of {", ".join(ROLES)}')
    if not isinstance(row['changes'], dict) or not all(isinstance(key, str) for key in row['changes']):
        raise ValueError(f'{where}: changes {row["changes"]!r} must be values by dotted key, as in '
                         '{model.backbone.scales: 2}')
    if not isinstance(row['seeds'], int) or row['seeds'] < 1:
        raise ValueError(f'{where}: seeds {row["seeds"]!r} must be a number of runs, 1 or more')
    if not isinstance(row['series'], list):
        raise ValueError(f'{where}: series {row["series"]!r} must be a name or a list of names')
    if row['series'] and len(columns) < 2:
        raise ValueError(f'{where}: series need two columns, which are the axes of the figure')
    for source in ('paper', 'official'):
        numbers = row[source] or {}
        numbers = numbers if isinstance(numbers, dict) else {None: numbers}
        if not set(numbers) <= set(settings) or any(len(values) > len(columns) for values in numbers.values()):
            raise ValueError(f'{where}: {source} must have a number per column'
                             + (f' for each of {", ".join(map(str, settings))}' if None not in settings else ''))
        row[source] = {setting: {column: number for column, number in zip(columns, values) if number is not None}
                       for setting, values in numbers.items()}
    row['series'] = tuple(row['series'])
    return Row(table=table_name, name=name, **row)
