"""Figures and the table of maps: images beside maps, as the paper's Fig. 4, and coverage by object size."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np

from .coverage import HOT, MEASURES, SIZES, ObjectCoverage, SizeSummary

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class MapCell:
    """One model's map of one image.

    Attributes:
        image (np.ndarray): (h, w, c), as the model gets it, BGR if c is 3.
        heat (np.ndarray | None): (h, w) of 0 to 1; None if there is no map.
        caption (str): What stands above.
        outline (np.ndarray | None): (h, w) bool, what a line is drawn around. Defaults to None.
    """

    image: np.ndarray
    heat: np.ndarray | None
    caption: str
    outline: np.ndarray | None = None


def draw_maps(rows: Sequence[Sequence[MapCell]], names: Sequence[str], path: str | Path) -> None:
    """Draw images and maps side by side, as the paper's Fig. 4.

    Args:
        rows (Sequence[Sequence[MapCell]]): For every image the maps of every model.
        names (Sequence[str]): Names of the models.
        path (str | Path): The PNG file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from pytorch_grad_cam.utils.image import show_cam_on_image

    width = 3
    heights = [width * max(cell.image.shape[0] / cell.image.shape[1] for cell in row) + 0.3 for row in rows]
    figure, axes = plt.subplots(len(rows), len(names) + 1, squeeze=False, layout='constrained',
                                figsize=(width * (len(names) + 1), sum(heights) + 0.3), height_ratios=heights)
    for axis in axes.flat:
        axis.axis('off')
    for line, row in zip(axes, rows):
        line[0].imshow(displayed(row[0].image))
        for axis, cell in zip(line[1:], row):
            image = displayed(cell.image)
            axis.imshow(image if cell.heat is None else show_cam_on_image(image, cell.heat, use_rgb=True))
            if cell.outline is not None:
                axis.contour(cell.outline, levels=[0.5], colors='white', linewidths=1)
            axis.set_title(cell.caption, fontsize=8)
    for axis, name in zip(axes[0], ['image', *names]):
        axis.set_title('\n'.join(filter(None, [name, axis.get_title()])), fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def displayed(image: np.ndarray) -> np.ndarray:
    """An image of any kind as one sees it: grey if it has fewer than three channels, else the first three as BGR.

    Args:
        image (np.ndarray): (h, w, c); uint8, or of another type, whose least value is shown black and greatest white.

    Returns:
        np.ndarray: (h, w, 3) float32 of 0 to 1, RGB.
    """
    shown = image[..., 2::-1] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    if image.dtype == np.uint8:
        return shown.astype(np.float32) / 255
    shown = shown.astype(np.float64)
    span = shown.max() - shown.min()
    return ((shown - shown.min()) / (span or 1)).astype(np.float32)


def draw_coverage(measured: Sequence[ObjectCoverage], summary: dict[str, SizeSummary], names: Sequence[str],
                  path: str | Path) -> None:
    """Draw energy and covered share over the object's size: an object is a dot, the means are bars.

    Args:
        measured (Sequence[ObjectCoverage]): The objects.
        summary (dict[str, SizeSummary]): What ``summarise_coverage`` returns of them.
        names (Sequence[str]): Names of the models.
        path (str | Path): The PNG file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout='constrained', width_ratios=(3, 2))
    labels = dict(energy="share of the map's energy inside the box",
                  covered=f'share of the box that is hot (≥ {HOT:.0%} of the maximum)')
    common = [record for record in measured if not record.missed]
    sizes = [size for size in SIZES if summary[size].objects]
    smallest = min(record.models[name].box_share for record in common for name in names)
    least = 10**np.floor(np.log10(smallest))
    for (left, right), (key, label) in zip(axes, labels.items()):
        for i, name in enumerate(names):
            coverages = [record.models[name] for record in common]
            left.scatter([coverage.box_share for coverage in coverages],
                         [getattr(coverage, key) for coverage in coverages], s=14, alpha=.6, label=name)
            values = [getattr(summary[size].models[name], key) for size in sizes]
            places = np.arange(len(sizes)) + (i - (len(names) - 1) / 2) * .8 / len(names)
            bars = right.bar(places, values, .8 / len(names), label=name)
            right.bar_label(bars, fmt='%.2f', fontsize=8)
        left.set(xscale='log', xlim=(least, 1), ylim=(-.03, 1.03), xlabel="the box's share of the image")
        left.set_ylabel(label)
        right.set(ylim=(0, 1.08), ylabel='mean')
        right.set_xticks(range(len(sizes)), [f'{size}\n{summary[size].objects} objects' for size in sizes])
    share = np.geomspace(least, 1)
    axes[0, 0].plot(share, share, 'k:', linewidth=1, label='a map that is the same everywhere')
    axes[0, 0].legend(fontsize=8, loc='upper left')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def coverage_table(summary: dict[str, SizeSummary]) -> Table:
    """A table of the means for the terminal."""
    from rich.table import Table
    table = Table(title='How maps lie to the boxes of objects, on those that all models see')
    for head in ('size', 'objects', 'model', 'box / image', 'energy in box', 'box covered', 'missed'):
        table.add_column(head, justify='left' if head in ('size', 'model') else 'right', overflow='fold')
    for size, row in summary.items():
        for name, means in row.models.items():
            values = [getattr(means, key) for key in MEASURES]
            shown = ['-' if value is None else f'{value:.3f}' for value in values]
            table.add_row(size, str(row.objects), name, *shown, str(means.missed))
        table.add_section()
    return table
