"""Where classifiers, detectors and segmentors look, side by side and as numbers.

Source: paper section 4.5 and Fig. 4, which compare ResNet-50 and Res2Net-50 by eye. ``explain.py`` makes the maps,
``coverage.py`` measures them.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from ...utils.text import number_duplicates
from .coverage import ObjectBox, ObjectCoverage, SizeSummary, measure_coverage, summarise_coverage
from .explain import ExplainedModel
from .figure import MapCell, draw_coverage, draw_maps

ROWS = 8  # images in a figure


@dataclass(frozen=True)
class MapRecord:
    """What a map explains: of which image and model, which class with which score."""

    image: str
    model: str
    label: int
    class_name: str
    score: float

    def to_json(self) -> dict:
        """As cam.json has it."""
        return dict(photo=self.image, model=self.model, label=self.label, class_name=self.class_name, score=self.score)


@dataclass
class MapComparison:
    """The maps of several models as numbers, and the files that show them.

    Attributes:
        models (list[ExplainedModel]): The models, under names that differ.
        maps (list[MapRecord]): One for every map.
        objects (list[ObjectCoverage]): How maps lie to the boxes of objects; empty without boxes.
        summary (dict[str, SizeSummary] | None): The means of these by size; None without boxes.
        written (list[Path]): Files, in the order in which they were written.
    """

    models: list[ExplainedModel]
    maps: list[MapRecord] = field(default_factory=list)
    objects: list[ObjectCoverage] = field(default_factory=list)
    summary: dict[str, SizeSummary] | None = None
    written: list[Path] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the models."""
        return [model.name for model in self.models]

    def to_json(self) -> dict:
        """The content of cam.json."""
        models = {model.name: dict(config=model.config, checkpoint=model.checkpoint, layer=model.layer_name,
                                   method=model.method.__name__) for model in self.models}
        results = dict(models=models, maps=[record.to_json() for record in self.maps])
        if self.summary is not None:
            results['coverage'] = dict(summary={size: row.to_json() for size, row in self.summary.items()},
                                       objects=[record.to_json() for record in self.objects])
        return results


def compare_maps(models: Sequence[ExplainedModel], images: Sequence[Path], out: Path, class_name: str | None = None,
                 boxes: dict[Path, list[ObjectBox]] | None = None) -> MapComparison:
    """Draw and measure the maps of several models, and write figures and cam.json.

    Args:
        models (Sequence[ExplainedModel]): The models; those of one name are numbered.
        images (Sequence[Path]): Image files.
        out (Path): The folder to write to.
        class_name (str | None): Name or index of the class to explain. Defaults to None, what each model sees most
            clearly.
        boxes (dict[Path, list[ObjectBox]] | None): The objects of images, as ``read_boxes`` returns them, to measure
            coverage by. Defaults to None.

    Returns:
        MapComparison: Numbers and files.

    Raises:
        OSError, ValueError: If a file cannot be read, a model has no such class, or the models have none of the boxes'
            classes.
    """
    boxes = boxes or {}
    for model, name in zip(models, number_duplicates([model.name for model in models])):
        model.name = name
    labels = [None if class_name is None else model.class_index(class_name) for model in models]
    known = _common_classes(models, boxes)

    out.mkdir(parents=True, exist_ok=True)
    comparison = MapComparison(list(models))
    rows = []
    for i, image in enumerate(images):
        rows.append(_explain_image(comparison, image, labels))
        if len(rows) == ROWS or i + 1 == len(images):
            comparison.written.append(out / f'cam_{i // ROWS + 1:03d}.png')
            draw_maps(rows, comparison.names, comparison.written[-1])
            rows = []
        comparison.objects += measure_coverage(models, image, [box for box in boxes.get(image, [])
                                                               if box.category in known])
    if boxes:
        comparison.summary = summarise_coverage(comparison.objects, comparison.names)
        if comparison.summary['all'].objects:
            comparison.written.append(out / 'coverage.png')
            draw_coverage(comparison.objects, comparison.summary, comparison.names, comparison.written[-1])
    comparison.written.append(out / 'cam.json')
    comparison.written[-1].write_text(json.dumps(comparison.to_json(), indent=1))
    return comparison


def _common_classes(models: Sequence[ExplainedModel], boxes: dict[Path, list[ObjectBox]]) -> set[str]:
    """Names of the classes that all models have; the boxes must have one of them."""
    known = set.intersection(*(set(model.classes) for model in models))
    categories = {box.category for objects in boxes.values() for box in objects}
    if boxes and not categories & known:
        raise ValueError(f"--boxes: the classes of the objects ({', '.join(sorted(categories)[:5])}, ...) are not "
                         f"those of the models ({', '.join(sorted(known)[:5])}, ...)")
    return known


def _explain_image(comparison: MapComparison, image: Path, labels: Sequence[int | None]) -> list[MapCell]:
    """A row of a figure: the map of every model of the comparison; each is also noted in ``comparison.maps``."""
    row = []
    for model, label in zip(comparison.models, labels):
        prepared = model.prepare_image(image)
        heat, answer = model.explain(prepared, label)
        if heat is None or answer is None:
            row.append(MapCell(prepared.image, None, 'no object'))
            continue
        outline = answer.outline if answer.outline is None else answer.outline[:heat.shape[0], :heat.shape[1]]
        class_name = model.class_name(answer.label)
        row.append(MapCell(prepared.image, heat, f'{class_name} {answer.score:.2f}', outline))
        comparison.maps.append(MapRecord(str(image), model.name, answer.label, class_name, answer.score))
    return row
