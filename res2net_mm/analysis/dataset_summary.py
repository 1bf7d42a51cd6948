"""What is in a dataset: images, their sizes, and objects, pixels, keypoints or labels of every class.

It is counted in what the built dataset holds, after its filters and its choice of classes: that is what a model sees.
No image is decoded: sizes are those of the annotations, or of the headers of some files.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator, Sequence

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from ..datasets.checks import BuiltSplit
from ..utils.images import image_shape
from .dataset_samples import ImageSample, load_labels, loading_transforms

MOST_HEADERS = 2000  # of images whose annotations do not say their sizes
MOST_MASKS = 500  # decoded for the shares of classes
SMALL, LARGE = 32**2, 96**2  # areas in pixels that COCO's small objects are below, and its large ones from


@dataclass
class ClassCount:
    """How much of one class there is.

    Attributes:
        name (str): The class.
        images (int): Images with something of it. Defaults to 0.
        objects (int): Objects of it, or images with this label. Defaults to 0.
        ignored (int): Objects besides that are neither trained on nor scored: crowds, difficult ones. Defaults to 0.
        by_area (list[int]): Small, medium and large objects, by COCO's bounds.
        pixels (int): Pixels of it in the masks that were decoded. Defaults to 0.
    """

    name: str
    images: int = 0
    objects: int = 0
    ignored: int = 0
    by_area: list[int] = field(default_factory=lambda: [0, 0, 0])
    pixels: int = 0

    @property
    def is_missing(self) -> bool:
        """Whether there is nothing of it."""
        return not (self.objects or self.pixels)


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of images, each as width and height in pixels.

    Attributes:
        smallest (tuple[int, int]): That with the fewest pixels.
        median (tuple[int, int]): That in the middle.
        largest (tuple[int, int]): That with the most pixels.
        aspects (tuple[float, float]): The least and the greatest ratio of width to height.
        measured (int): How many images they are of.
    """

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    aspects: tuple[float, float]
    measured: int


@dataclass
class DatasetSummary:
    """What is in one dataset.

    Attributes:
        kind (str): Its class.
        source (str): Its annotation file, or else the folder that it is in; '' if it names neither.
        counted (str): What is counted: 'objects', 'keypoints', 'labels', 'pixels', or 'nothing' that is known.
        images (list[ImageSample]): Its images.
        annotated (int): How many of them have annotations.
        sizes (ImageSizes | None): Their sizes; None if none could be read.
        classes (dict[int, ClassCount]): Counts of the classes, by label; also of labels that no class has.
        keypoints (dict[int, ClassCount]): Counts of the keypoints: how many objects have each. Defaults to none.
        masks (int): How many objects have masks of their own. Defaults to 0.
        decoded (int): How many semantic masks were decoded. Defaults to 0.
        unreadable (list[str]): Semantic masks that could not be decoded, and why. Defaults to none.
    """

    kind: str
    source: str
    counted: str
    images: list[ImageSample]
    annotated: int = 0
    sizes: ImageSizes | None = None
    classes: dict[int, ClassCount] = field(default_factory=dict)
    keypoints: dict[int, ClassCount] = field(default_factory=dict)
    masks: int = 0
    decoded: int = 0
    unreadable: list[str] = field(default_factory=list)

    def count(self, label: int) -> ClassCount:
        """The count of a label; one that no class has is added."""
        return self.classes.setdefault(label, ClassCount(f'label {label}'))


def summarise_dataset(dataset: BaseDataset, wrapper: Any = None) -> DatasetSummary:
    """Count what is in a built dataset.

    Args:
        dataset (BaseDataset): A dataset of a toolbox, or one whose entries have the same keys: ``instances`` (mmdet),
            ``keypoints`` (mmpose), ``gt_label`` (mmpretrain) or ``seg_map_path`` (mmseg).
        wrapper (Dataset | None): What it stands in. Defaults to None.
    """
    names = dataset.metainfo.get('classes')
    summary = DatasetSummary(type(dataset).__name__, dataset_source(dataset), 'nothing', [],
                             classes={label: ClassCount(str(name)) for label, name in enumerate(names or ())})
    entries: dict[str, tuple[list[int], set[int]]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for index, info in enumerate(BuiltSplit.annotations(dataset)):
        name = str(info.get('img_path') or f'#{index}')
        indices, classes = entries.setdefault(name, ([], set()))
        indices.append(index)
        sizes[name] = annotated_size(info)
        if 'keypoints' in info or 'instances' not in info and 'num_keypoints' in dataset.metainfo:
            classes |= count_keypoints(summary, info, dataset.metainfo)
        elif 'instances' in info:
            classes |= count_objects(summary, info['instances'])
        elif 'gt_label' in info:
            classes |= count_labels(summary, info['gt_label'])
        elif info.get('seg_map_path'):
            summary.counted = 'pixels'
    for _, classes in entries.values():
        for label in classes:
            summary.count(label).images += 1
    transforms = loading_transforms(dataset, wrapper)
    summary.images = [ImageSample(dataset, transforms, name, indices, frozenset(classes))
                      for name, (indices, classes) in entries.items()]
    if summary.counted == 'pixels':
        count_pixels(summary, getattr(dataset, 'ignore_index', 255))
    summary.annotated = sum(sample.classes is None or bool(sample.classes) for sample in summary.images)
    summary.sizes = measure_sizes(sizes)
    return summary


def dataset_source(dataset: BaseDataset) -> str:
    """The annotation file of a built dataset, or else its folder; '' if it names neither."""
    prefix = dataset.data_prefix if isinstance(dataset.data_prefix, dict) else {}
    sources = (dataset.ann_file, prefix.get('img_path'), prefix.get('root'), dataset.data_root)
    return next((str(source) for source in sources if source), '')


# 1. Objects, keypoints, labels.


def count_objects(summary: DatasetSummary, instances: Sequence[dict]) -> set[int]:
    """Count the objects of an image of mmdet; return their classes."""
    summary.counted = 'objects'
    labels = set()
    for instance in instances:
        label = int(instance.get('bbox_label', 0))
        count = summary.count(label)
        if instance.get('ignore_flag'):
            count.ignored += 1
            continue
        labels.add(label)
        count.objects += 1
        summary.masks += 'mask' in instance
        add_area(count, object_area(instance))
    return labels


def object_area(instance: dict) -> float:
    """The area of an object of mmdet in pixels: that of its mask as COCO has it, or else of its box."""
    mask = instance.get('mask')
    if isinstance(mask, list) and mask:
        return sum(cv2.contourArea(np.asarray(polygon, np.float32).reshape(-1, 2)) for polygon in mask
                   if len(polygon) >= 6 and len(polygon) % 2 == 0)
    x1, y1, x2, y2 = instance['bbox']
    return (x2 - x1) * (y2 - y1)


def add_area(count: ClassCount, area: float) -> None:
    """Count an object as small, medium or large."""
    if math.isfinite(area):
        count.by_area[(area >= SMALL) + (area >= LARGE)] += 1


def count_keypoints(summary: DatasetSummary, info: dict, metainfo: dict[str, Any]) -> set[int]:
    """Count the objects of an entry of mmpose and their keypoints; return {0} if there are any."""
    summary.counted = 'keypoints'
    if not summary.keypoints:
        names = metainfo.get('keypoint_id2name') or {}
        summary.keypoints = {i: ClassCount(str(names.get(i, i))) for i in range(metainfo.get('num_keypoints', 0))}
        summary.classes = {0: ClassCount('objects')}
    if 'keypoints' not in info:  # an image without objects
        return set()
    boxes = np.reshape(info.get('bbox', ()), (-1, 4))
    areas = np.ravel(info.get('area', ()))
    if len(areas) != len(boxes):
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for area in areas:
        add_area(summary.classes[0], float(area))
    for labelled in labelled_keypoints(info):
        summary.classes[0].objects += 1
        for number in np.flatnonzero(labelled).tolist():
            summary.keypoints.setdefault(number, ClassCount(f'keypoint {number}')).objects += 1
    return {0}


def labelled_keypoints(info: dict) -> np.ndarray:
    """Which keypoints of the objects of an entry of mmpose are labelled: (objects, keypoints) bool."""
    points = np.asarray(info['keypoints'], np.float64)
    visible = np.asarray(info.get('keypoints_visible', np.ones(points.shape[:2])))
    visible = visible[..., 0] if visible.ndim == 3 else visible
    return (visible > 0) & points.any(axis=2)


def count_labels(summary: DatasetSummary, labels: Any) -> set[int]:
    """Count the label, or several, of an image of mmpretrain; return them."""
    summary.counted = 'labels'
    found = {int(label) for label in np.ravel(labels)}
    for label in found:
        summary.count(label).objects += 1
    return found


# 2. Pixels and sizes, of images that are spread over the dataset.


def count_pixels(summary: DatasetSummary, ignore_index: int) -> None:
    """Decode some of the semantic masks of a dataset, and count the pixels of every class."""
    chosen = set(spread(len(summary.images), MOST_MASKS))
    for number, sample in enumerate(summary.images):
        classes = None
        if number in chosen:
            try:
                labels = load_labels(sample)
            except Exception as error:  # of whatever library decodes it
                labels = None
                summary.unreadable.append(f'{sample.name}: {error}')
            if labels is not None:
                summary.decoded += 1
                classes = add_pixels(summary, labels, ignore_index)
        summary.images[number] = replace(sample, classes=classes)


def add_pixels(summary: DatasetSummary, labels: np.ndarray, ignore_index: int) -> frozenset[int]:
    """Count the pixels of a semantic mask; return its classes without the ignored label."""
    values, pixels = np.unique(labels, return_counts=True)
    for value, amount in zip(values.tolist(), pixels.tolist()):
        count = summary.count(value)
        count.images += 1
        count.pixels += amount
        if value == ignore_index:
            count.name = f'(ignored, {ignore_index})'
    return frozenset(set(values.tolist()) - {ignore_index})


def annotated_size(info: dict) -> tuple[int, int] | None:
    """Width and height that an entry of a dataset states, or those of the image in it; None if it has neither."""
    if isinstance(info.get('img'), np.ndarray):
        return info['img'].shape[1], info['img'].shape[0]
    size = (info.get('width'), info.get('height'))
    return size if all(isinstance(number, (int, float)) and number > 0 for number in size) else None  # type: ignore


def measure_sizes(annotated: dict[str, tuple[int, int] | None]) -> ImageSizes | None:
    """Sizes of images as they are annotated, or else as some of the files say.

    Args:
        annotated (dict[str, tuple[int, int] | None]): Width and height by path.
    """
    sizes = [size for size in annotated.values() if size]
    if not sizes:
        paths = list(annotated)
        sizes = list(header_sizes([paths[i] for i in spread(len(paths), MOST_HEADERS)]))
    if not sizes:
        return None
    sizes.sort(key=lambda size: size[0] * size[1])
    aspects = [width / height for width, height in sizes]
    return ImageSizes(sizes[0], sizes[len(sizes) // 2], sizes[-1], (min(aspects), max(aspects)), len(sizes))


def header_sizes(paths: Sequence[str | Path]) -> Iterator[tuple[int, int]]:
    """Width and height of images as they are loaded; files that cannot be read are left out."""
    for path in paths:
        try:
            height, width = image_shape(path)
        except Exception:  # Pillow raises more than OSError for hostile files; the checks name them
            continue
        yield width, height


def spread(total: int, most: int) -> list[int]:
    """At most so many of the numbers below a total, evenly spread."""
    count = min(total, most)
    return [i * total // count for i in range(count)]
