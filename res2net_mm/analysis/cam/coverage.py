"""How much of an object a map covers, as numbers: by the boxes of an annotation file and by object size."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from .explain import ExplainedModel

HOT = 0.2  # of the maximum: where a map is 'on', the threshold of CAM's own localisation (arXiv 1512.04150)
SIZES = {'small': 32**2, 'medium': 96**2, 'large': float('inf')}  # COCO's: most pixels of the image
MEASURES = ('box_share', 'energy', 'covered')  # numbers of a Coverage


@dataclass(frozen=True)
class ObjectBox:
    """An object of an annotation file.

    Attributes:
        category (str): Name of its class.
        box (Sequence[float]): x, y, width and height in pixels.
        area (float): In pixels.
    """

    category: str
    box: Sequence[float]
    area: float

    @property
    def size(self) -> str:
        """COCO's name for the size: small, medium or large."""
        return next(name for name, limit in SIZES.items() if self.area <= limit)


@dataclass(frozen=True)
class Coverage:
    """How the map of one model lies to the box of one object.

    Attributes:
        box_share (float): The box's share of the image.
        energy (float | None): Share of the map's sum that is inside the box; 0 for an empty map, None if the model
            missed the object.
        covered (float | None): Share of the box where the map is at least 20 % of its maximum; 0 for an empty map,
            None if the model missed the object.
    """

    box_share: float
    energy: float | None = None
    covered: float | None = None

    @property
    def missed(self) -> bool:
        """Whether the model does not see the object."""
        return self.energy is None

    def to_json(self) -> dict:
        """As cam.json has it."""
        shares = {} if self.missed else dict(energy=self.energy, covered=self.covered)
        return dict(share_of_picture=self.box_share, found=not self.missed, **shares)


@dataclass(frozen=True)
class ObjectCoverage:
    """How the maps of all models lie to the box of one object.

    Attributes:
        image (str): File name of the image.
        category (str): Name of the object's class.
        size (str): Small, medium or large.
        models (dict[str, Coverage]): By the name of the model.
    """

    image: str
    category: str
    size: str
    models: dict[str, Coverage]

    @property
    def missed(self) -> bool:
        """Whether a model does not see the object."""
        return any(coverage.missed for coverage in self.models.values())

    def to_json(self) -> dict:
        """As cam.json has it."""
        return dict(photo=self.image, category=self.category, size=self.size,
                    models={name: coverage.to_json() for name, coverage in self.models.items()})


@dataclass(frozen=True)
class MeanCoverage:
    """The means of a model over objects of a size, and how many it missed; means are None without objects."""

    box_share: float | None
    energy: float | None
    covered: float | None
    missed: int

    def to_json(self) -> dict:
        """As cam.json has it."""
        means = asdict(self)
        return dict(share_of_picture=means.pop('box_share'), **means)


@dataclass(frozen=True)
class SizeSummary:
    """The means of all models over objects of a size.

    Attributes:
        objects (int): How many objects of this size all models see.
        models (dict[str, MeanCoverage]): By the name of the model.
    """

    objects: int
    models: dict[str, MeanCoverage]

    def to_json(self) -> dict:
        """As cam.json has it."""
        return dict(objects=self.objects, models={name: means.to_json() for name, means in self.models.items()})


def read_boxes(path: str | Path, images: Sequence[Path]) -> dict[Path, list[ObjectBox]]:
    """Read the objects of images from a COCO-style file.

    An object that shares its image with another of its class is left out: a classifier's map can't be divided among
    them, and every model is to be asked about the same objects.

    Args:
        path (str | Path): The annotation file; images are looked up in it by their file names.
        images (Sequence[Path]): The images.

    Returns:
        dict[Path, list[ObjectBox]]: The objects of every image.

    Raises:
        OSError, ValueError: If the file cannot be read, is of another format, or knows none of the images.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"--boxes: '{path}' does not exist")
    try:
        content = json.loads(Path(path).read_text())
        categories = {category['id']: category['name'] for category in content['categories']}
        ids = {Path(image['file_name']).name: image['id'] for image in content['images']}
        annotated: dict[int, list[tuple[dict, ObjectBox]]] = {image_id: [] for image_id in ids.values()}
        for annotation in content['annotations']:
            annotated[annotation['image_id']].append((annotation, ObjectBox(
                categories[annotation['category_id']], annotation['bbox'],
                annotation.get('area') or annotation['bbox'][2] * annotation['bbox'][3])))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"--boxes: '{path}' is not in COCO's format: {type(error).__name__}: {error}") from error
    known = [image for image in images if image.name in ids]
    if not known:
        raise ValueError(f"--boxes: '{path}' has none of the images, such as {images[0].name}")
    boxes = {}
    for image in known:
        objects = annotated[ids[image.name]]
        names = [box.category for _, box in objects]
        boxes[image] = [box for annotation, box in objects
                        if names.count(box.category) == 1 and not annotation.get('iscrowd')]
    return boxes


def map_coverage(heat: np.ndarray, region: np.ndarray) -> Coverage:
    """Measure how a map lies to an object's box.

    Args:
        heat (np.ndarray): (h, w), the map.
        region (np.ndarray): (h, w) bool, the box.

    Returns:
        Coverage: Its shares.
    """
    box_share = float(region.mean())
    if not heat.any():
        return Coverage(box_share, 0., 0.)
    return Coverage(box_share, float(heat[region].sum() / heat.sum()),
                    float((heat[region] >= HOT * heat.max()).mean()))


def measure_coverage(models: Sequence[ExplainedModel], image: Path,
                     boxes: Sequence[ObjectBox]) -> list[ObjectCoverage]:
    """Measure how every model's maps cover the objects of an image; those that a pipeline crops away are left out."""
    measured = []
    inputs = [model.prepare_image(image) for model in models]
    for box in boxes:
        coverages = {}
        for model, prepared in zip(models, inputs):
            region = model.box_region(image, box.box)
            if not region.any():
                break  # cropped away
            heat, _ = model.explain(prepared, model.classes.index(box.category), region)
            coverages[model.name] = Coverage(float(region.mean())) if heat is None else map_coverage(heat, region)
        else:
            measured.append(ObjectCoverage(image.name, box.category, box.size, coverages))
    return measured


def summarise_coverage(measured: Sequence[ObjectCoverage], names: Sequence[str]) -> dict[str, SizeSummary]:
    """Means over the objects that all models see, by size.

    Args:
        measured (Sequence[ObjectCoverage]): The objects.
        names (Sequence[str]): Names of the models.

    Returns:
        dict[str, SizeSummary]: By 'all', 'small', 'medium' and 'large'.
    """
    summary = {}
    for size in ('all', *SIZES):
        asked = [record for record in measured if size in ('all', record.size)]
        common = [record for record in asked if not record.missed]
        models = {}
        for name in names:
            means = {key: float(np.mean([getattr(record.models[name], key) for record in common])) if common else None
                     for key in MEASURES}
            models[name] = MeanCoverage(**means, missed=sum(record.models[name].missed for record in asked))
        summary[size] = SizeSummary(len(common), models)
    return summary
