"""Measured numbers beside the published ones, for a terminal and as Markdown."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.text import markdown_table
from .figure import draw_series_figure
from .results import Result, kind_caution, measured_numbers, newest_result
from .tables import Row, Table, published_number

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table as TextTable

HEADS = ('row', 'setting', 'metric', 'paper', 'measured', 'paper, minus twin', 'measured, minus twin')
STAR = "*: of the authors' repository; the paper has no such number"
PROVENANCE_HEADS = ('row', 'setting', 'config', 'changes', 'options', 'data', 'batch', 'device', 'training', 'test',
                    'commit', 'date')


@dataclass(frozen=True)
class ComparisonLine:
    """A measured number beside the published one, in the order of ``HEADS``.

    Numbers are text: '' where there is none, and '-' where a test had nothing to report.

    Attributes:
        row (str): Name of the row.
        setting (str): Name of the setting; '' where there is one only.
        metric (str): Label of the metric.
        paper (str): The published number, with '*' if it is of the authors' repository.
        measured (str): The measured number.
        paper_gain (str): The published number minus the twin's.
        measured_gain (str): The measured number minus the twin's.
    """
    row: str
    setting: str
    metric: str
    paper: str
    measured: str
    paper_gain: str
    measured_gain: str


def compare(table: Table, results: Sequence[Result]) -> list[ComparisonLine]:
    """Put results beside the published numbers of a table.

    A twin's result counts only if it is of the same data and options, and numbers of two settings never meet.

    Args:
        table (Table): The table.
        results (Sequence[Result]): Results, all of one kind.

    Returns:
        list[ComparisonLine]: One for each metric of every row and setting that was measured.
    """
    lines = []
    for row in table.rows.values():
        for setting in table.settings:
            result = newest_result(results, row, setting)
            if result:
                twin = table.twin_of(row)
                twin_result = newest_result(results, twin, setting, like=result) if twin else None
                lines += _compare_result(table, row, result, twin, twin_result)
    return lines


def _compare_result(table: Table, row: Row, result: Result, twin: Row | None,
                    twin_result: Result | None) -> list[ComparisonLine]:
    lines = []
    for name, metric in table.metrics.items():
        number, star = published_number(row, result.setting, name)
        measured = result.measured.get(name)
        if number is None and measured is None:
            continue
        twin_number, twin_star = published_number(twin, result.setting, name) if twin else (None, '')
        twin_measured = twin_result.measured.get(name) if twin_result else None
        decimals = metric.decimals
        lines.append(ComparisonLine(
            row=row.name, setting=result.setting or '', metric=metric.label,
            paper=format_number(number, decimals, star), measured=format_number(measured, decimals) or '-',
            paper_gain=format_number(subtract(number, twin_number), decimals, star or twin_star, sign='+'),
            measured_gain=format_number(subtract(measured, twin_measured), decimals, sign='+')))
    return lines


def comparison_table(table: Table, results: Sequence[Result], kind: str) -> Group:
    """Make a table for the terminal of measured rows beside the paper's numbers.

    Args:
        table (Table): The table.
        results (Sequence[Result]): Results, all of one kind.
        kind (str): Their kind (``Result.kind``).

    Returns:
        rich.console.Group: What a rich console prints.
    """
    from rich.console import Group
    from rich.table import Table as TextTable
    from rich.text import Text
    lines = compare(table, results)
    cells = [astuple(line) for line in lines]
    empty = [not any(column) for column in zip(*cells)] or [False] * len(HEADS)
    shown = TextTable(title=f'{table.title}: schedule {kind}', caption=STAR if has_star(lines) else None)
    for head, skip in zip(HEADS, empty):
        if not skip:
            shown.add_column(head, justify='left' if head in HEADS[:3] else 'right', overflow='fold')
    for i, line in enumerate(cells):
        last_of_row = i + 1 == len(cells) or cells[i + 1][:2] != line[:2]
        shown.add_row(*(cell for cell, skip in zip(line, empty) if not skip), end_section=last_of_row)
    return Group(shown, Text(table.note.strip()), Text(kind_caution(kind)))


def settings_table(table: Table, log: Mapping[str, float]) -> TextTable:
    """Make a table for the terminal of what one test measured, beside the numbers of the rows.

    Args:
        table (Table): A table whose metrics are logged as 'SETTING/...'.
        log (Mapping[str, float]): What was measured.

    Returns:
        rich.table.Table: What a rich console prints.
    """
    from rich.table import Table as TextTable
    rows = [row for row in table.rows.values() if row.paper]
    shown = TextTable(title=f'{table.title}: measured, and the paper')
    shown.add_column('setting')
    for metric in table.metrics.values():
        shown.add_column(metric.label, justify='right')
        for row in rows:
            shown.add_column(f'{row.model} (paper)', justify='right', style='dim')
    for setting in dict.fromkeys(key.partition('/')[0] for key in log):
        measured = measured_numbers(table.metrics, log, setting)
        cells = []
        for name, metric in table.metrics.items():
            numbers = [measured.get(name), *(published_number(row, setting, name)[0] for row in rows)]
            cells += [format_number(number, metric.decimals) or '-' for number in numbers]
        shown.add_row(setting, *cells)
    return shown


def list_tables(tables: Mapping[str, Table]) -> str:
    """List tables, their rows and the configs of these as text."""
    lines = []
    for table in tables.values():
        lines.append(f'{table.name}  {table.title}')
        for row in table.models:
            lines.append(f'    {row.name:22} {row.model_name:28} {row.config or "no config yet"}')
    return '\n'.join(lines)


def write_report(path: str | Path, tables: Mapping[str, Table], results: Sequence[Result]) -> list[Path]:
    """Write results as Markdown, and the figures of their tables beside it.

    Args:
        path (str | Path): The Markdown file.
        tables (Mapping[str, Table]): The tables to report on.
        results (Sequence[Result]): Results of any kind.

    Returns:
        list[Path]: The figures.

    Raises:
        OSError: If a file cannot be written.
    """
    path, figures = Path(path), {}
    for kind in sorted({result.kind for result in results}):
        for table in tables.values():
            file = draw_series_figure(table, results, kind, path.parent)
            if file:
                figures[table.name, kind] = file
    names = {key: file.name for key, file in figures.items()}
    path.write_text(results_markdown(tables, results, names), encoding='utf-8')
    return list(figures.values())


def results_markdown(tables: Mapping[str, Table], results: Sequence[Result],
                     figures: Mapping[tuple[str, str], str]) -> str:
    """Format results as Markdown: measured beside published, and with what it was measured.

    Args:
        tables (Mapping[str, Table]): The tables to report on.
        results (Sequence[Result]): Results of any kind.
        figures (Mapping[tuple[str, str], str]): Files of figures, by the name of the table and the kind of run.

    Returns:
        str: A section for each table and kind of run that has a result.
    """
    sections = []
    for table in tables.values():
        of_table = [result for result in results if any(result.belongs_to(row) for row in table.rows.values())]
        for kind in sorted({result.kind for result in of_table}):
            sections += _report_section(table, [result for result in of_table if result.kind == kind], kind,
                                        figures.get((table.name, kind)))
    return '\n\n'.join(section for section in sections if section) + '\n'


def _report_section(table: Table, results: Sequence[Result], kind: str, figure: str | None) -> list[str]:
    lines = compare(table, results)
    newest = ((row, newest_result(results, row, setting)) for row in table.rows.values() for setting in table.settings)
    return [f'## {table.name}: {table.title}, schedule {kind}',
            table.note.strip(),
            f'**{kind_caution(kind)}**' if kind_caution(kind) else '',
            markdown_table(HEADS, [astuple(line) for line in lines]),
            STAR.replace('*', '\\*') if has_star(lines) else '',
            f'![{table.title}]({figure})' if figure else '',
            'Measured with:',
            markdown_table(PROVENANCE_HEADS, [provenance_cells(row.name, result) for row, result in newest if result])]


def provenance_cells(row: str, result: Result) -> tuple[str, ...]:
    """What a result was measured with, in the order of ``PROVENANCE_HEADS``."""
    training, test = result.train, result.test
    recipe = f' (recipe: {result.recipe_batch_size})' if result.recipe_batch_size else ''
    commit, _, dirty = (training.commit or '').partition(' ')
    return (row, result.setting or '', result.config, format_changes(result.changes), ' '.join(result.options),
            result.data or '', f'{result.batch_size}{recipe}', f'{training.devices} x {training.device}',
            f'{training.seconds:.0f} s', f'{test.seconds:.0f} s', f'{commit[:8]} {dirty}'.rstrip(), test.date[:10])


def format_changes(changes: Mapping[str, Any]) -> str:
    """Changes of a config as text: 'model.backbone.scales=2'."""
    return ' '.join(f'{key}={value}' for key, value in changes.items())


def format_number(number: float | None, decimals: int, star: str = '', sign: str = '') -> str:
    """A number as text, '' for None."""
    return '' if number is None else f'{number:{sign}.{decimals}f}{star}'


def subtract(number: float | None, other: float | None) -> float | None:
    """A difference, None if one of the two is missing."""
    return None if number is None or other is None else number - other


def has_star(lines: Iterable[ComparisonLine]) -> bool:
    """Whether a line has a number of the authors' repository."""
    return any('*' in line.paper + line.paper_gain for line in lines)
