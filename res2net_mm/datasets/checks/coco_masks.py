"""Checks of the masks in a file in COCO's format: polygons, and run-length masks."""
from __future__ import annotations

import math
from typing import Any, Iterable, Iterator

import numpy as np
from mmengine.registry import TRANSFORMS

from ...utils.config_types import ancestors, config_class
from .coco_file import CocoFile
from .problems import Problem, list_defects
from .registry import DatasetSettings


def loads_masks(settings: DatasetSettings) -> bool:
    """Whether the pipeline of a dataset of mmdet loads the masks of its objects."""
    return any(step.get('with_mask') and 'mmdet.LoadAnnotations' in ancestors(
        config_class(step, TRANSFORMS, settings.scope)) for step in steps(settings.config.get('pipeline')))


def steps(pipeline: Any) -> Iterator[dict]:
    """The configs of the transforms of a pipeline, also of those inside of others."""
    if isinstance(pipeline, dict):
        if 'type' in pipeline:
            yield pipeline
        pipeline = list(pipeline.values())
    if isinstance(pipeline, (list, tuple)):
        for item in pipeline:
            yield from steps(item)


def check_object_masks(file: CocoFile, annotations: Iterable[dict], reader: str, strict: bool) -> Iterator[Problem]:
    """Check that objects have masks that can be read.

    Args:
        file (CocoFile): The file.
        annotations (Iterable[dict]): The objects.
        reader (str): What reads their masks, for the message.
        strict (bool): Whether every polygon must have three points. Otherwise mmdet leaves out those that do not.
    """
    lacking, defects, thin, count = [], [], [], 0
    for annotation in annotations:
        count += 1
        mask = annotation.get('segmentation')
        if not mask:
            lacking.append(f'annotation {annotation["id"]}')
            continue
        defect = object_mask_defect(mask, file.images[annotation['image_id']])
        if defect:
            defects.append(f'annotation {annotation["id"]}: {defect}')
        elif isinstance(mask, list) and any(map(is_thin, mask)):
            thin.append(f'annotation {annotation["id"]}')
    yield from list_defects(f'{file.path}: {len(lacking)} of {count} objects have no segmentation, which {reader} '
                            'reads; add it, or ask for no masks:', lacking)
    yield from list_defects(f'{file.path}: {len(defects)} of {count} objects have bad masks:', defects)
    outcome = 'pycocotools cannot read them' if strict else 'mmdet leaves these polygons out'
    yield from list_defects(f'{file.path}: {len(thin)} objects have polygons that are not pairs of at least three '
                            f'x, y; {outcome}:', thin, fatal=strict)


def is_thin(polygon: list) -> bool:
    """Whether a polygon is something else than pairs of at least three x, y."""
    return len(polygon) < 6 or len(polygon) % 2 == 1


def object_mask_defect(mask: Any, image: dict) -> str | None:
    """What is wrong with the mask of an object, or None; polygons of less than three points pass."""
    if isinstance(mask, dict):
        return run_length_defect(mask, image)
    if not isinstance(mask, list) or {*map(type, mask)} != {list}:
        return 'segmentation must be a list of polygons, each a list x1, y1, x2, y2, ..., or a run-length mask'
    try:
        finite = all(map(math.isfinite, map(sum, mask)))
    except (TypeError, OverflowError):
        finite = False
    return None if finite else 'segmentation has a polygon with something else than finite numbers in it'


def run_length_defect(mask: dict, image: dict) -> str | None:
    """What is wrong with a run-length mask, or None. pycocotools never ends on one that is longer than its size."""
    size, counts = mask.get('size'), mask.get('counts')
    height, width = image['height'], image['width']
    if not isinstance(size, list) or size != [height, width]:
        return f'mask of size {size!r:.60}; its image {image["file_name"]} is [{height}, {width}] (height, width)'
    if isinstance(counts, str):
        counts = decode_counts(counts)
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        return 'counts of its run-length mask must be integers of 0 or more, or such as pycocotools compresses them'
    if sum(counts) != height * width:
        return f'counts of its run-length mask make {sum(counts)} pixels; its image has {height * width}'
    return None


def decode_counts(text: str) -> list[int] | None:
    """The lengths of the runs in the compressed counts of a mask; None if they are broken.

    A length is a number of 5 bits a letter, the lowest first; from the fourth on it is the difference to the last but
    one.
    """
    codes = np.frombuffer(text.encode('utf-32-le'), np.uint32).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    counts: list[int] = []
    value = shift = 0
    for code in codes.tolist():
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts
