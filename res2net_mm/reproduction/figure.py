"""The figure of a table whose rows are points of series: accuracy against parameters, as in the paper's Figure 5."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from .results import Result, kind_caution, newest_by_seed
from .tables import Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, order=True)
class SeriesPoint:
    """A row as a point of a series.

    Attributes:
        x (float): Its place: the row's number in the first column.
        heights (list[float]): The row's numbers in the second column, one for every seed.
        label (str): What the row changes.
    """
    x: float
    heights: list[float]
    label: str


def draw_series_figure(table: Table, results: Sequence[Result], kind: str, folder: Path) -> Path | None:
    """Draw the series of a table: its second column against its first, a line for each.

    A point is the mean of its seeds, and has their standard deviation as whiskers if there are several; beside it
    stands what its row changes. Results of other settings, data or options are in panels of their own.

    Args:
        table (Table): The table.
        results (Sequence[Result]): Results of any kind.
        kind (str): Only runs of this kind count (``Result.kind``).
        folder (Path): Where to draw.

    Returns:
        Path | None: ``NAME.png``, or ``NAME_KIND.png`` if the kind is not 'full'; None if there is nothing to draw.
    """
    panels = series_panels(table, [result for result in results if result.kind == kind])
    if not panels:
        return None
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    x, y = list(table.metrics.values())[:2]
    figure, axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 4.5), layout='constrained', squeeze=False)
    for axis, (title, series) in zip(axes[0], panels.items()):
        for number, (name, points) in enumerate(series.items()):
            _draw_series(axis, name, points, f'C{number}')
        axis.set(xlabel=x.label, ylabel=y.label, title=title if len(panels) > 1 else '')
        axis.margins(x=0.08)  # room for the last label
        axis.legend()
    figure.suptitle('\n'.join(filter(None, [table.title, kind_caution(kind)])), fontsize='medium')
    path = folder / ('_'.join([table.name, *(kind.replace(',', '').split() if kind != 'full' else [])]) + '.png')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path


def _draw_series(axis: Axes, name: str, points: Sequence[SeriesPoint], colour: str) -> None:
    axis.plot([point.x for point in points], [mean(point.heights) for point in points], 'o-', color=colour, label=name)
    for point in points:
        axis.annotate(point.label, (point.x, mean(point.heights)), (5, -10), textcoords='offset points', color=colour,
                      fontsize='small')
        if len(point.heights) > 1:
            axis.errorbar(point.x, mean(point.heights), stdev(point.heights), capsize=4, color=colour)


def series_panels(table: Table, results: Sequence[Result]) -> dict[str, dict[str, list[SeriesPoint]]]:
    """Sort results into the panels and lines of a figure.

    Args:
        table (Table): The table.
        results (Sequence[Result]): Results, all of one kind.

    Returns:
        dict[str, dict[str, list[SeriesPoint]]]: By setting, data and options other than the seed: the points of every
        series in the order of x. The newest result of every seed counts.
    """
    rows = [row for row in table.rows.values() if row.series]
    names = dict.fromkeys(name for row in rows for name in row.series)
    panels: dict[str, dict[str, list[SeriesPoint]]] = {}
    for row in rows:
        for conditions, point in _points_of_row(table, row, results).items():
            panel = panels.setdefault(conditions, {name: [] for name in names})
            for name in row.series:
                panel[name].append(point)
    return {conditions: {name: sorted(points) for name, points in panel.items()}
            for conditions, panel in panels.items()}


def _points_of_row(table: Table, row: Row, results: Sequence[Result]) -> dict[str, SeriesPoint]:
    x, y = list(table.metrics)[:2]
    panels: dict[str, list[Result]] = {}
    for result in results:
        if result.belongs_to(row) and None not in (result.measured.get(x), result.measured.get(y)):
            panels.setdefault(panel_conditions(result), []).append(result)
    label = ' '.join(str(value) for value in row.changes.values())
    points = {}
    for conditions, alike in panels.items():
        places, heights = zip(*((result.measured[x], result.measured[y]) for result in newest_by_seed(alike).values()))
        points[conditions] = SeriesPoint(places[-1], list(heights), label)
    return points


def panel_conditions(result: Result) -> str:
    """What results must share to be in one panel, as its title."""
    return ' '.join(filter(None, [result.setting, result.data, *result.options_but_seed]))
