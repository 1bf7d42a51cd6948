"""The same weights in PaddleClas's Res2Nets and in ours: whether every stage gives the same features."""
from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.convert import convert
from ..checkpoints.files import read_checkpoint, write_checkpoint
from ..checkpoints.paddle_layout import FUNCTION
from ..models.backbones.res2net import Res2Net
from ..models.layers.bottle2neck import STAGE_POOLS
from ..utils.errors import UserError
from . import paddle_reference

OUTPUTS = ('stage1', 'stage2', 'stage3', 'stage4', 'logits')
TOLERANCE = 1e-5  # relative error of an output


@dataclass(frozen=True)
class Variant:
    """A Res2Net of PaddleClas.

    Args:
        name (str): Its name there.
        depth (int): Its layers.
        scales (int): Number of splits.
        width (int): Channels of a split in the first stage.
    """

    name: str
    depth: int
    scales: int
    width: int

    @property
    def vd(self) -> bool:
        """Whether it has the deep stem and the pooled shortcuts."""
        return '_vd_' in self.name

    def build(self, stage_pool: str) -> Res2Net:
        """Our backbone of this shape."""
        return Res2Net(depth=self.depth, scales=self.scales, base_width=self.width, deep_stem=self.vd,
                       avg_down=self.vd, stage_pool=stage_pool)


VARIANTS = (
    Variant('Res2Net50_26w_4s', 50, 4, 26),
    Variant('Res2Net50_14w_8s', 50, 8, 14),
    Variant('Res2Net50_vd_26w_4s', 50, 4, 26),
    Variant('Res2Net101_vd_26w_4s', 101, 4, 26),
    Variant('Res2Net200_vd_26w_4s', 200, 4, 26),
)


@dataclass(frozen=True)
class Parity:
    """How far our outputs are from PaddleClas's for the same weights, as relative errors.

    Args:
        variant (Variant): The model.
        errors (dict[str, float]): Of each of ``OUTPUTS``.
        other_function (float): The least error of the first stage if ``stage_pool`` is another one.
    """

    variant: Variant
    errors: dict[str, float]
    other_function: float

    @property
    def holds(self) -> bool:
        """Whether all outputs are the same but for rounding."""
        return all(error <= TOLERANCE for error in self.errors.values())


def compare_with_paddle(variant: Variant, python: str | Path, folder: Path) -> Parity:
    """Have PaddleClas make random weights, load its file here, compare the outputs, and have it load ours.

    Args:
        variant (Variant): The model.
        python (str | Path): An interpreter with paddlepaddle and paddleclas.
        folder (Path): Where files go.

    Returns:
        Parity: The errors.

    Raises:
        UserError: If that interpreter cannot do its part, or finds that weights that were here give other outputs.
    """
    _run(variant, python, 'make', folder)
    stored = read_checkpoint(folder / 'weights.pdparams')
    wanted = {name: torch.from_numpy(value) for name, value in np.load(folder / 'outputs.npz').items()}
    own = convert(stored, 'res2net_mm')[0]
    errors: dict[str, dict[str, float]] = {}
    for stage_pool in STAGE_POOLS:
        backbone = variant.build(stage_pool).eval()
        backbone.load_state_dict(dict(stored if stage_pool == FUNCTION else own))
        with torch.no_grad():
            stages = backbone(wanted['images'])
            logits = stages[-1].mean((2, 3)) @ own['fc.weight'].T + own['fc.bias']
        errors[stage_pool] = {name: relative_error(output, wanted[name])
                              for name, output in zip(OUTPUTS, (*stages, logits))}
    write_checkpoint(convert(own, 'paddle')[0], folder / 'back.pdparams', force=True)
    _run(variant, python, 'reload', folder)
    return Parity(variant, errors.pop(FUNCTION), min(error['stage1'] for error in errors.values()))


def relative_error(output: Tensor, wanted: Tensor) -> float:
    """The norm of the difference, divided by that of what is wanted; of what is not finite it is NaN."""
    return ((output.double() - wanted.double()).norm() / wanted.double().norm()).item()


def _run(variant: Variant, python: str | Path, what: str, folder: Path) -> None:
    module = 'res2net_vd' if variant.vd else 'res2net'
    numbers = map(str, (variant.depth, variant.scales, variant.width))
    result = subprocess.run([str(python), paddle_reference.__file__, what, str(folder), module, *numbers],
                            capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"{python}, {what} {variant.name}: {(result.stderr.strip().splitlines() or ['it failed'])[-1]}")


def parity_table(results: list[Parity]) -> list[list[str]]:
    """Rows of a table: the model, its errors, and that of another function."""
    return [[result.variant.name, *(f'{result.errors[name]:.1e}' for name in OUTPUTS), f'{result.other_function:.2f}']
            for result in results]


