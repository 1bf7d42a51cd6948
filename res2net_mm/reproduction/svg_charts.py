"""Charts of the HTML report as what its template draws: texts, and places in the units of an SVG's view box."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH = 460  # of every chart: on a phone nearly a unit a pixel
LONGEST_BAR = 160  # the rest is for its text
LINE = 19  # height of a bar or a line of text
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 40  # around the axes of a line chart
PLOT_HEIGHT = 250


@dataclass(frozen=True)
class BarValue:
    """A number that is drawn as a bar.

    Attributes:
        group (str): The bars that it stands among.
        label (str): Whose it is.
        value (float): The number, 0 or more.
        text (str): The number as it is printed.
        style (str): Class of the template's style sheet: 'baseline', 'res2net', 'repository' or 'ours'.
    """
    group: str
    label: str
    value: float
    text: str
    style: str


@dataclass(frozen=True)
class Bar:
    """A bar with its place.

    Attributes:
        y (int): Its upper side.
        width (float): Its length.
        label (str): Whose it is.
        text (str): Its number.
        style (str): Class of the template's style sheet.
    """
    y: int
    width: float
    label: str
    text: str
    style: str


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars from 0, in groups.

    Attributes:
        title (str): What is drawn.
        height (int): Height of the view box.
        heads (list[tuple[int, str]]): Base line and name of each group.
        bars (list[Bar]): The bars.
    """
    title: str
    height: int
    heads: list[tuple[int, str]]
    bars: list[Bar]


@dataclass(frozen=True)
class LineSeries:
    """A line of a chart with its place.

    Attributes:
        name (str): Its name.
        style (str): Class of the template's style sheet: 'line0', 'line1', ...
        points (list[tuple[float, float, str]]): x, y and a text for those who point at it.
        path (str): The same for a polyline.
    """
    name: str
    style: str
    points: list[tuple[float, float, str]]
    path: str


@dataclass(frozen=True)
class LineChart:
    """Lines over two axes.

    Attributes:
        title (str): What is drawn.
        height (int): Height of the view box.
        x_label (str): Name of the x axis.
        y_label (str): Name of the y axis.
        x_ticks (list[tuple[float, str]]): Places and numbers of the x axis.
        y_ticks (list[tuple[float, str]]): The same of the y axis.
        lines (list[LineSeries]): The lines.
    """
    title: str
    height: int
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[LineSeries]


def bar_chart(title: str, values: Sequence[BarValue]) -> BarChart | None:
    """Place bars below one another.

    Args:
        title (str): What is drawn.
        values (Sequence[BarValue]): The numbers; a group's stand together, in the order of its first.

    Returns:
        BarChart | None: None if there is no number.
    """
    if not values:
        return None
    longest = max(value.value for value in values) or 1
    y, heads, bars = 0, [], []
    for group in dict.fromkeys(value.group for value in values):
        y += LINE
        heads.append((y - 5, group))
        for value in (value for value in values if value.group == group):
            bars.append(Bar(y, round(LONGEST_BAR * value.value / longest, 1), value.label, value.text, value.style))
            y += LINE
        y += LINE // 2
    return BarChart(title, y, heads, bars)


def line_chart(title: str, x_label: str, y_label: str,
               lines: Mapping[str, Sequence[tuple[float, float, str]]]) -> LineChart | None:
    """Place lines over axes that hold all of their points.

    Args:
        title (str): What is drawn.
        x_label (str): Name of the x axis.
        y_label (str): Name of the y axis.
        lines (Mapping[str, Sequence[tuple]]): Points by the line's name: x, y and a text. A line without points is
            left out.

    Returns:
        LineChart | None: None if there is no point.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    x_ticks, y_ticks = (_ticks([point[axis] for point in points]) for axis in (0, 1))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (round(LEFT + across * (WIDTH - LEFT - RIGHT), 1), round(TOP + (1 - up) * PLOT_HEIGHT, 1))

    placed = []
    for number, (name, line) in enumerate((name, line) for name, line in lines.items() if line):
        at = [(*place(x, y), text) for x, y, text in line]
        placed.append(LineSeries(name, f'line{number % 4}', at, ' '.join(f'{x},{y}' for x, y, _ in at)))
    return LineChart(
        title, TOP + PLOT_HEIGHT + BOTTOM + LINE * len(placed), x_label, y_label,
        [(place(tick, y_ticks[0])[0], f'{tick:g}') for tick in x_ticks],
        [(place(x_ticks[0], tick)[1], f'{tick:g}') for tick in y_ticks], placed)


def _ticks(numbers: Sequence[float]) -> list[float]:
    """Round numbers from below the least to above the greatest, about five of them."""
    low, high = min(numbers), max(numbers)
    rough = (high - low or abs(high) or 1) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * tick, 10) for tick in range(first, max(last, first + 1) + 1)]
