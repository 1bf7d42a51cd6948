"""Receptive fields of whole backbones as results: numbers for JSON, a table, a figure."""
from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.config import config_name, load_config
from .models import build_backbone, build_random_backbone
from .receptive_field import MEAN, SHARES, STD, ReceptiveField, calibrate_norms, measure_receptive_fields

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table


@dataclass(frozen=True)
class BackboneFields:
    """The receptive fields of one backbone.

    Attributes:
        name (str): Its architecture or config.
        checkpoint (str | None): Where its weights come from; None for random ones.
        fields (list[ReceptiveField]): For every block, its splits in order.
    """

    name: str
    checkpoint: str | None
    fields: list[ReceptiveField]

    @property
    def title(self) -> str:
        """Name and weights."""
        return f'{self.name}, {Path(self.checkpoint).name if self.checkpoint else "random weights"}'

    @property
    def file_name(self) -> str:
        """Name of the figure's file."""
        return f'{self.name.replace("/", "_")}.png'

    def by_block(self) -> dict[str, list[ReceptiveField]]:
        """The fields of every block."""
        blocks: dict[str, list[ReceptiveField]] = {}
        for field in self.fields:
            blocks.setdefault(field.block, []).append(field)
        return blocks

    def to_json(self) -> dict:
        """The radii as numbers: weights, and block -> [{split, radius: {'50': pixels, ..}, theoretical}]."""
        return dict(weights=self.checkpoint or 'random', blocks={
            block: [dict(split=field.split, radius={f'{share:.0%}'[:-1]: field.radius(share) for share in SHARES},
                         theoretical=field.theoretical) for field in fields]
            for block, fields in self.by_block().items()})


def measure_arch(arch: str, inputs: Tensor, blocks: Sequence[str] | None = None, seed: int = 0) -> BackboneFields:
    """Measure the receptive fields of an architecture with random weights.

    Args:
        arch (str): Name of the architecture.
        inputs (Tensor): Images, (n, 3, size, size), on the device to run on.
        blocks (Sequence[str] | None): Names of blocks. Defaults to None, the last one of every stage.
        seed (int): Of weights and random signs. Defaults to 0.

    Returns:
        BackboneFields: The fields.

    Raises:
        ValueError: If there is no such architecture or block, or the size does not suit the strides.
    """
    torch.manual_seed(seed)
    return _measure(arch, build_random_backbone(arch), None, inputs, blocks, seed)


def measure_config(config: str, checkpoint: str | None, inputs: Tensor, blocks: Sequence[str] | None = None,
                   seed: int = 0) -> BackboneFields:
    """Measure the receptive fields of a config's backbone.

    Args:
        config (str): A config of a model with a backbone.
        checkpoint (str | None): A checkpoint of the backbone or of a model with it; None for random weights.
        inputs (Tensor): Images, (n, 3, size, size), on the device to run on; see ``of_channels`` for other backbones.
        blocks (Sequence[str] | None): Names of blocks. Defaults to None, the last one of every stage.
        seed (int): Of random weights and random signs. Defaults to 0.

    Returns:
        BackboneFields: The fields.

    Raises:
        OSError, ValueError: If a file cannot be read, the two do not fit, there is no such block, or the size does not
            suit the strides.
    """
    torch.manual_seed(seed)
    backbone = build_backbone(config, checkpoint)
    inputs = of_channels(inputs, load_config(config).model.backbone.get('in_channels', 3))
    return _measure(config_name(config), backbone, checkpoint, inputs, blocks, seed)


def _measure(name: str, backbone: nn.Module, checkpoint: str | None, inputs: Tensor, blocks: Sequence[str] | None,
             seed: int) -> BackboneFields:
    backbone = backbone.to(inputs.device)
    if checkpoint is None:
        calibrate_norms(backbone, inputs)
    return BackboneFields(name, checkpoint, measure_receptive_fields(backbone, inputs, blocks, seed))


def of_channels(inputs: Tensor, channels: int) -> Tensor:
    """Inputs for a backbone of another number of channels: the same channels again and again, or the first of them.

    Args:
        inputs (Tensor): (n, c, h, w).
        channels (int): The channels of the backbone's images.

    Returns:
        Tensor: (n, channels, h, w).
    """
    return inputs[:, [channel % inputs.shape[1] for channel in range(channels)]]


def receptive_field_table(backbone: BackboneFields) -> Table:
    """A table of the radii for the terminal."""
    from rich.table import Table
    table = Table(title=f'{backbone.name}: radius in pixels that holds a share of the energy')
    for head in ('block', 'split', *(f'{share:.0%}' for share in SHARES), 'theoretical'):
        table.add_column(head, justify='left' if head == 'block' else 'right')
    for field in backbone.fields:
        radii = [field.radius(share) for share in SHARES]
        table.add_row(field.block, f'y_{field.split}', *('dead' if r is None else str(r) for r in radii),
                      'all' if field.theoretical is None else str(field.theoretical))
    return table


def draw_receptive_fields(backbone: BackboneFields, path: str | Path, images: Sequence[Tensor] = ()) -> None:
    """Draw a row for each block, a column for each split, and before them the images with the splits' fields.

    Args:
        backbone (BackboneFields): The fields.
        path (str | Path): The PNG file to write.
        images (Sequence[Tensor]): Inputs as ``load_square_images`` returns them; the first two are shown. Defaults to
            none.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    images = [np.clip(image.permute(1, 2, 0).numpy() * STD + MEAN, 0, 255).astype(np.uint8) for image in images[:2]]
    rows = backbone.by_block()
    columns = len(images) + max(map(len, rows.values()))
    figure, axes = plt.subplots(len(rows), columns, figsize=(2.4 * columns, 2.45 * len(rows) + 0.6), squeeze=False,
                                layout='constrained')
    for axis in axes.flat:
        axis.set_visible(False)
    for row, (block, splits) in zip(axes, rows.items()):
        _draw_block(row, splits, images)
        row[0].set_ylabel(block)
    figure.suptitle(f'{backbone.title}: energy of the gradient, log scale over 5 decades; pixels from the centre\n'
                    'solid: 90 % of the energy, dotted: theoretical field', fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_block(row: Sequence[Axes], splits: list[ReceptiveField], images: list[np.ndarray]) -> None:
    from matplotlib import pyplot as plt
    size, centre = len(splits[0].energy), splits[0].centre
    extent = (-centre - .5, size - centre - .5, size - centre - .5, -centre - .5)
    reach = [size // 2 if field.theoretical is None else field.theoretical for field in splits]
    half = min(size // 2, math.ceil(1.05 * max(reach)))
    colours = plt.cm.cool(np.linspace(0, 1, len(splits)))
    for axis, image in zip(row, images):
        axis.imshow(image, extent=extent)
        for field, colour in zip(splits, colours):
            _draw_square(axis, field.radius(.9), colour)
        axis.set_title('90 % of each split', fontsize=8)
    for axis, field, colour in zip(row[len(images):], splits, colours):
        peak = field.energy.max() or 1
        axis.imshow(np.log10(np.maximum(field.energy / peak, 1e-6)), extent=extent, cmap='magma', vmin=-5, vmax=0,
                    interpolation='nearest')
        _draw_square(axis, field.radius(.9), colour)
        _draw_square(axis, field.theoretical, 'white', linewidth=1, linestyle=':')
        limit = 'the image' if field.theoretical is None else field.theoretical
        axis.set_title(f'y_{field.split}: 90 % within {field.radius(.9)}, all within {limit}', fontsize=8)
    for axis in row[:len(images) + len(splits)]:
        low, high = max(-half, extent[0]), min(half, extent[1])
        axis.set(visible=True, xlim=(low, high), ylim=(high, low))
        axis.tick_params(labelsize=7)


def _draw_square(axis: Axes, radius: int | None, colour: str | np.ndarray, linewidth: float = 1.5,
                 linestyle: str = '-') -> None:
    from matplotlib.patches import Rectangle
    if radius is not None:
        corner, side = -radius - .5, 2 * radius + 1
        axis.add_patch(Rectangle((corner, corner), side, side, fill=False, color=colour, linewidth=linewidth,
                                 linestyle=linestyle))
