"""What a benchmark of whole models found, and its page."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Sequence

from ..utils.text import markdown_table
from .timing import MEASURED, MeasuringSettings, Ratio


@dataclass(frozen=True)
class ModelRow:
    """The times of a whole model.

    Attributes:
        config (str): Name of the config.
        backbone (str): Type of the backbone.
        path (str): How the backbone runs.
        batch_size (int): Images in the batch.
        image_size (tuple[int, int]): Height and width of the images.
        to_resnet (Ratio): Its times divided by those with the toolbox's ResNet.
        to_ours (Ratio): Its times divided by those with our Res2Net as it is.
        backbone_share (float): The part of its time that the backbone takes, the median over the calls.
        seconds (list[float]): Of every round.
    """

    config: str
    backbone: str
    path: str
    batch_size: int
    image_size: tuple[int, int]
    to_resnet: Ratio
    to_ours: Ratio
    backbone_share: float
    seconds: list[float]

    @property
    def images_per_second(self) -> float:
        """Images per second, at the median over the rounds."""
        return self.batch_size / median(self.seconds)

    def to_json(self) -> dict:
        """As benchmark_models.json has it."""
        row = asdict(self)
        ratios = {key: row.pop(key) for key in ('to_resnet', 'to_ours', 'seconds')}
        return dict(row, images_per_second=self.images_per_second, **ratios)


@dataclass
class ModelReport:
    """The results of a benchmark of whole models.

    Attributes:
        settings (MeasuringSettings): Where and how often things were timed.
        provenance (dict): What ``settings.describe`` returned at the start.
        rows (list[ModelRow]): The times.
    """

    settings: MeasuringSettings
    provenance: dict
    rows: list[ModelRow] = field(default_factory=list)

    def to_json(self) -> dict:
        """The content of benchmark_models.json."""
        return dict(self.provenance, rows=[row.to_json() for row in self.rows])


HEADS = ('config', 'image', 'batch', 'backbone', 'path', 'images/s', '/ ResNet', '/ ours, eager', 'backbone %')
PAGE = """# Whole models

Measured with `tools/analysis_tools/benchmark_models.py {command}`: {measured}.

A config of ours with its own backbone, and with the toolbox's; random weights, images of noise, through the
preprocessor and `predict`. Backbone and neck compute in {dtype}, the rest in float32. Detectors keep as many proposals
as they may, and no detections. */ ResNet* and */ ours* are times divided by those of the toolbox's ResNet and
of our backbone as it is: medians over the rounds ± half the distance of the quartiles; under 1 is faster. *backbone %*
is the part of a call that the backbone takes. Of the toolbox's backbones, *onnxruntime* is the backbone alone in ONNX
Runtime. mmdet's Res2Net has v1b's stem and shortcuts, whatever the config.

{table}
"""


def models_page(report: ModelReport) -> str:
    """The Markdown page, without absolute times if they are a CPU's."""
    heads = [head for head in HEADS if report.settings.device.type == 'cuda' or head != 'images/s']
    return PAGE.format(command=report.settings.command, measured=MEASURED.format(**report.provenance),
                       dtype=report.settings.dtype, table=models_table(report.rows, heads))


def models_table(rows: Sequence[ModelRow], heads: Sequence[str] = HEADS) -> str:
    """A Markdown table with some of the columns in ``HEADS``."""
    lines = [dict(zip(HEADS, (row.config, '×'.join(map(str, row.image_size)), row.batch_size, row.backbone, row.path,
                              f'{row.images_per_second:.2f}', str(row.to_resnet), str(row.to_ours),
                              f'{100 * row.backbone_share:.0f}'))) for row in rows]
    return markdown_table(heads, [[line[head] for head in heads] for line in lines])


def write_model_report(report: ModelReport, folder: Path) -> list[Path]:
    """Write benchmark_models.json and benchmark_models.md into a folder, which exists; return the files."""
    written = [folder / f'benchmark_models.{suffix}' for suffix in ('json', 'md')]
    written[0].write_text(json.dumps(report.to_json(), indent=1) + '\n')
    written[1].write_text(models_page(report), encoding='utf-8')
    return written
