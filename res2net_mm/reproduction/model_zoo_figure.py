"""The figure of docs/model_zoo.md: accuracy on ImageNet against cost."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.complexity import count
from ..models.names import resolve
from ..models.public_weights import WEIGHTS
from ..utils.config import find_config, load_config
from .model_zoo import config_cost
from .tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLES = {'ours': 'Res2Net', 'baseline': 'baseline'}


def accuracy_points(tables: Mapping[str, Table]) -> list[tuple[str, str, str, float, float]]:
    """The points of the figure.

    Args:
        tables (Mapping[str, Table]): As for ``model_zoo.zoo_rows``.

    Returns:
        list[tuple]: Model, family ('Res2Net' or 'baseline'), whose number it is ('paper' or 'published'), G
        multiply-adds, top-1 accuracy on ImageNet in %.
    """
    points = []
    for table in tables.values():
        for row in table.rows.values():
            error = row.paper.get(None, {}).get('top1_err')
            if not row.config or row.data != 'imagenet' or error is None:
                continue
            cost = config_cost(load_config(find_config(row.config)))
            if cost:
                points.append((row.model_name, ROLES[row.role], 'paper', cost[1] / 1e9, round(100 - error, 3)))
    for weights in WEIGHTS:
        if weights.config or not weights.accuracies or 'SSLD' in weights.note:
            continue
        accuracy, architecture = weights.accuracies[0], resolve(weights.architecture)
        top1 = 100 - accuracy.values[0] if 'error' in accuracy.metric else accuracy.values[0]
        points.append((architecture.title or architecture.name, 'Res2Net', 'published',
                       count(architecture.config, architecture.input_size)[1] / 1e9, round(top1, 3)))
    return list(dict.fromkeys(points))


def draw_accuracy(points: Iterable[tuple[str, str, str, float, float]], path: Path) -> None:
    """Draw ImageNet top-1 accuracy against multiply-adds.

    Args:
        points (Iterable[tuple]): As of :func:`accuracy_points`.
        path (Path): The image.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    marks: dict[tuple[str, str], dict[str, Any]] = {
        ('Res2Net', 'paper'): dict(marker='o', color='C0'),
        ('Res2Net', 'published'): dict(marker='^', facecolors='none', edgecolors='C0', s=70),
        ('baseline', 'paper'): dict(marker='s', color='C7')}
    points = list(points)
    figure, axis = plt.subplots(figsize=(10, 7), layout='constrained')
    for (family, whose), style in marks.items():
        of_mark = [(macs, top1) for _, *kind, macs, top1 in points if tuple(kind) == (family, whose)]
        axis.scatter(*zip(*of_mark), label=f'{family}, {whose}', **style)
    axis.set(xlabel='multiply-adds G, 224 x 224 unless the name says 299', ylabel='ImageNet top-1 accuracy %, quoted')
    axis.margins(x=0.2)  # room for the labels
    axis.grid(alpha=0.3)
    axis.legend(loc='lower right')
    _label(axis, points)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _label(axis: Axes, points: Sequence[tuple[str, str, str, float, float]]) -> None:
    """Write the models beside their points, where neither a point nor another label is in the way."""
    from matplotlib.transforms import Bbox
    axis.figure.canvas.draw()
    # Where the paper and a publisher have a model at the same place, one label is enough.
    named = [point for i, point in enumerate(points)
             if not any(abs(point[3] - x) < 0.01 and abs(point[4] - y) < 0.05 for *_, x, y in points[:i])]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12)
             for x, y in axis.transData.transform([point[3:] for point in named])]
    for number, (name, family, _, macs, top1) in enumerate(named):
        others = taken[:number] + taken[number + 1:]
        for shift, side in product((-3, 6, -12, 15, -21), ('left', 'right')):
            label = axis.annotate(
                name, (macs, top1), (7 if side == 'left' else -7, shift), textcoords='offset points', ha=side,
                fontsize='x-small', color='C0' if family == 'Res2Net' else '#555555')
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in others):
                break
            label.remove()
        else:
            continue  # rather no name than one over another
        taken.append(box)
