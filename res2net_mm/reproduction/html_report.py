"""The report as one HTML file: every table of the paper, with what was measured beside it, and charts of some."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from jinja2 import Environment, StrictUndefined

from ..utils.config import packaged_configs
from ..utils.text import mean_and_deviation
from .figure import panel_conditions, series_panels
from .report import format_changes, format_number, provenance_cells
from .results import Result, kind_caution, newest_by_seed
from .svg_charts import WIDTH, BarChart, BarValue, LineChart, bar_chart, line_chart
from .tables import Metric, Row, Table, published_number

TEMPLATE = Path(__file__).with_name('html_report.html')
PAPER, REPOSITORY, OURS = 'paper', "authors' repository", 'ours'
SETTINGS = {'gt_boxes': 'ground-truth boxes', 'detected_boxes': 'detected boxes'}


@dataclass(frozen=True)
class ReportLine:
    """A line of a table of the report: numbers of one row in one setting, all of one source.

    Attributes:
        setting (str): The setting; '' where there is one only.
        whose (str): 'paper', "authors' repository" or 'ours'.
        kind (str): The kind of run, for ours; else ''.
        numbers (list[str]): A number for every metric; '' where there is none.
        values (Mapping[str, float]): The same as numbers, by metric.
        date (str): Of the newest test, for ours.
        commit (str): Of its training, for ours.
        conditions (str): Data and options, for ours.
    """
    setting: str
    whose: str
    kind: str
    numbers: list[str]
    values: Mapping[str, float]
    date: str = ''
    commit: str = ''
    conditions: str = ''


@dataclass(frozen=True)
class ReportSection:
    """A table of the report.

    Attributes:
        table (Table): The table.
        name (str): Its name for people: 'Table 6'.
        rows (list[tuple[Row, list[ReportLine]]]): The rows with their lines.
        measured (int): How many rows have a result of the full schedule.
        kinds (list[str]): The kinds of run that there are results of.
        bars (BarChart | None): Its bars, if it has some.
        curves (list[LineChart]): Its curves.
        speeds (list[tuple]): Times beside ResNet-50: architecture, the paper's ratio, batch size, ratio eager, ratio
            accelerated; for the table that has running times.
        speeds_source (str): What these were measured with.
    """
    table: Table
    name: str
    rows: list[tuple[Row, list[ReportLine]]]
    measured: int
    kinds: list[str]
    bars: BarChart | None
    curves: list[LineChart]
    speeds: list[tuple[str, ...]]
    speeds_source: str


def write_html_report(path: str | Path, tables: Mapping[str, Table], results: Sequence[Result],
                      files: Sequence[str | Path] = ()) -> None:
    """Write results as one HTML file that needs nothing else.

    Args:
        path (str | Path): The file. Its folder is made.
        tables (Mapping[str, Table]): The tables to report on.
        results (Sequence[Result]): Results of any kind.
        files (Sequence[str | Path]): Where the results are from, for the page to say; their folders are not told.
            Defaults to ().

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_report(tables, results, files), encoding='utf-8')


def html_report(tables: Mapping[str, Table], results: Sequence[Result], files: Sequence[str | Path] = ()) -> str:
    """Format results as one HTML page; the arguments are those of :func:`write_html_report`."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding='utf-8'))
    sections = [_section(table, tables, results) for table in tables.values()]
    return template.render(
        sections=sections, files=[Path(file).name for file in files], results=results, width=WIDTH,
        caution=kind_caution, changes=format_changes,
        newest=max((result.test.date[:10] for result in results), default=''))


def report_lines(table: Table, row: Row, results: Sequence[Result]) -> list[ReportLine]:
    """The lines of a row: in each setting the paper's numbers, those of the authors' repository, and ours.

    Args:
        table (Table): The table.
        row (Row): A row of it.
        results (Sequence[Result]): Results of any kind; those of one kind, data and options are one line, which has the
            mean ± standard deviation of the newest result of every seed.
    """
    lines = []
    for setting in table.settings:
        for whose, source in ((PAPER, row.paper), (REPOSITORY, row.official)):
            values = source.get(setting, {})
            if values:
                numbers = [format_number(values.get(name), metric.decimals) for name, metric in table.metrics.items()]
                lines.append(ReportLine(_setting(setting), whose, '', numbers, values))
        alike: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            if result.belongs_to(row) and result.setting == setting and set(result.measured) & set(table.metrics):
                alike.setdefault((result.kind, panel_conditions(result)), []).append(result)
        lines += [_our_line(table, setting, kind, newest_by_seed(same))
                  for (kind, _), same in alike.items()]
    return lines


def _our_line(table: Table, setting: str | None, kind: str, seeds: Mapping[int | None, Result]) -> ReportLine:
    """One of ours: the mean of its seeds."""
    numbers, values = [], {}
    for name, metric in table.metrics.items():
        heights = [height for result in seeds.values() for height in [result.measured.get(name)] if height is not None]
        if heights:
            values[name] = mean(heights)
        numbers.append(mean_and_deviation(heights, metric.decimals))
    newest = list(seeds.values())[-1]
    *_, commit, date = provenance_cells('', newest)
    batch = f'batch {newest.batch_size}' if newest.batch_size not in (None, newest.recipe_batch_size) else ''
    count = f'{len(seeds)} seeds' if len(seeds) > 1 else ''
    return ReportLine(_setting(setting), OURS, kind, numbers, values, date, commit,
                      ', '.join(filter(None, [newest.data, *newest.options_but_seed, batch, count])))


def _section(table: Table, tables: Mapping[str, Table], results: Sequence[Result]) -> ReportSection:
    rows = [(row, report_lines(table, row, results)) for row in table.rows.values()]
    kinds = list(dict.fromkeys(line.kind for _, lines in rows for line in lines if line.whose == OURS))
    speeds, source = _speeds(table)
    return ReportSection(
        table, _name(table), rows,
        sum(any(line.kind == 'full' for line in lines) for _, lines in rows),
        kinds, _bars(table, rows), _curves(table, tables, results, kinds), speeds, source)


def _name(table: Table) -> str:
    """'table6' is 'Table 6', 'fig5' 'Figure 5'; what is not the paper's keeps its name."""
    for start, name in (('table', 'Table'), ('fig', 'Figure')):
        if table.name.startswith(start) and table.name[len(start):].isdigit():
            return f'{name} {table.name[len(start):]}'
    return table.name


def _setting(setting: str | None) -> str:
    return SETTINGS.get(setting or '', setting or '')


def _bars(table: Table, rows: Sequence[tuple[Row, Sequence[ReportLine]]]) -> BarChart | None:
    """Bars by the size of objects, or by settings: of the tables that are about these."""
    by_size = [metric for metric in list(table.metrics.values())[:3]
               if metric.name.endswith(('_small', '_medium', '_large'))]
    if len(by_size) == 3:
        return bar_chart(f'{_name(table)}: box AP by the size of the object',
                         [value for metric in by_size for value in _bar_values(metric, metric.label, rows)])
    if len(table.settings) > 1:
        metric = next(iter(table.metrics.values()))
        return bar_chart(f'{_name(table)}: {metric.label}', [
            value for setting in table.settings for value in _bar_values(metric, _setting(setting), [
                (row, [line for line in lines if line.setting == _setting(setting)]) for row, lines in rows])])
    return None


def _bar_values(metric: Metric, group: str, rows: Sequence[tuple[Row, Sequence[ReportLine]]]) -> list[BarValue]:
    """A bar for every number of a metric; lines of differences have none."""
    values = []
    for row, lines in rows:
        for line in lines:
            if metric.name in line.values and row.role != 'gain':
                of_paper = 'res2net' if row.role == 'ours' else 'baseline'
                style = {PAPER: of_paper, REPOSITORY: f'{of_paper} repository'}.get(
                    line.whose, 'ours' if line.kind == 'full' else 'ours partial')
                whose = {REPOSITORY: 'repository'}.get(line.whose, line.whose) + (f', {line.kind}' if line.kind else '')
                number = line.values[metric.name]
                values.append(BarValue(group, f'{row.model}, {whose}', number,
                                       format_number(number, metric.decimals), style))
    return values


def _curves(table: Table, tables: Mapping[str, Table], results: Sequence[Result], kinds: Sequence[str]
            ) -> list[LineChart]:
    """The table's figure: what the paper says of its points, and ours of every kind, data and options."""
    if not any(row.series for row in table.rows.values()):
        return []
    x, y = list(table.metrics.values())[:2]
    charts = [line_chart(f'{_name(table)}: points that another table of the paper has', x.label, y.label,
                         _known_points(table, tables))]
    for kind in kinds:
        panels = series_panels(table, [result for result in results if result.kind == kind])
        for conditions, series in panels.items():
            title = ', '.join(filter(None, [f'{_name(table)}, ours: schedule {kind}', conditions]))
            charts.append(line_chart(title, x.label, y.label, {
                name: [(point.x, mean(point.heights), f'{point.label or "start"}: {mean(point.heights):.{y.decimals}f}')
                       for point in points] for name, points in series.items()}))
    return [chart for chart in charts if chart]


def _known_points(table: Table, tables: Mapping[str, Table]) -> dict[str, list[tuple[float, float, str]]]:
    """Points of the figure whose model is a row of another table that prints its error."""
    x, y = list(table.metrics)[:2]
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for row in table.rows.values():
        for other in tables.values():
            for same in other.rows.values():
                place, _ = published_number(same, None, x)
                error, _ = published_number(same, None, f'{y}_err')
                if (same.model, same.split, same.data) == (row.model, row.split, row.data) and place and error:
                    for name in row.series:
                        lines.setdefault(f'{name}, paper ({_name(other)})', []).append(
                            (place, round(100 - error, 3), f'{row.model} {row.split}: {100 - error:.2f}'))
    return lines


def _speeds(table: Table) -> tuple[list[tuple[str, ...]], str]:
    """Times beside ResNet-50's of the measurement that comes with a checkout, for the table that has running times."""
    file = packaged_configs().resolve().parent / 'docs' / 'results' / 'inference' / 'benchmark.json'
    if 'runtime_ms' not in table.metrics or not file.is_file():
        return [], ''
    measurement = json.loads(file.read_text(encoding='utf-8'))
    ratios: dict[tuple[str, str, int], dict[str, str]] = {}
    for row in measurement['rows']:
        if row['source'] == 'res2net_mm' and row['to_baseline'] and row['path'] in ('eager', 'accelerate'):
            key = row['preset'], format_number(row['paper'], 2), row['batch_size']
            ratios.setdefault(key, {})[row['path']] = f'{row["to_baseline"]["median"]:.2f}'
    source = (f'{measurement["device"]}, {measurement["threads"]} threads, PyTorch {measurement["torch"]}, commit '
              f'{measurement["commit"][:8]}, {measurement["date"][:10]}')
    return [(name, paper, str(batch), paths.get('eager', ''), paths.get('accelerate', ''))
            for (name, paper, batch), paths in ratios.items()], source
