"""Predictions as records: COCO's results format for boxes, masks and keypoints, and the like for the other tasks."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Sequence

import numpy as np

from ..utils.errors import UserError
from .prediction import Prediction

COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # numbers up to 90 that no class of COCO 2017 has
COCO_IDS = tuple(number for number in range(1, 91) if number not in COCO_GAPS)
COCO_ENDS = ('person', 'toothbrush')  # the first and the last of the 80
TOP = 5  # classes of a classifier
SALIENT = 0.5


def image_ids(names: Sequence[str]) -> dict[str, int | str]:
    """What records call images: the integer that the name of a file is, as in COCO, or else the name.

    Args:
        names (Sequence[str]): Their paths among the inputs, such as 'val2017/000000000139.jpg', which is 139. If two
            images had the same integer, all are called by their names.
    """
    ids: dict[str, int | str] = {}
    for name in names:
        path = PurePosixPath(name)
        ids[name] = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else name
    return ids if len(set(ids.values())) == len(ids) else {name: name for name in ids}


def category_ids(classes: Sequence[str]) -> tuple[int, ...]:
    """The ``category_id`` of each class: COCO's for COCO's 80 classes, else their places, from 1."""
    if len(classes) == len(COCO_IDS) and (classes[0], classes[-1]) == COCO_ENDS:
        return COCO_IDS
    return tuple(range(1, len(classes) + 1))


def to_records(prediction: Prediction, image: int | str) -> list[dict[str, Any]]:
    """The records of an image.

    Args:
        prediction (Prediction): What the model says about it.
        image (int | str): Its ``image_id``.

    Returns:
        list[dict]: Of plain numbers, text and lists. For each object ``image_id``, ``category_id``, ``category`` and
        ``score``, with ``bbox`` (left, top, width, height) and ``segmentation`` (RLE) or ``keypoints`` (x, y, score,
        x, ...). For a classifier one record, with the five surest ``categories`` and their ``scores``. For a segmentor
        one for each class that there is, with its ``segmentation``. For saliency one, with what is above 0.5 as its
        ``segmentation``, and the mean of the map there as its ``score``.

    Raises:
        UserError: If masks are to be written, and pycocotools is not installed.
    """
    return WRITERS[prediction.task](prediction, image)


def object_records(found: Prediction, image: int | str) -> list[dict[str, Any]]:
    """A record for each object."""
    assert found.labels is not None and found.scores is not None and found.boxes is not None
    ids, records = category_ids(found.classes), []
    for i, label in enumerate(found.labels):
        record = dict(image_id=image, category_id=ids[label], category=found.classes[label],
                      score=plain(found.scores[i]))
        if found.keypoints is not None:
            record['keypoints'] = list(map(plain, found.keypoints[i].reshape(-1)))
        else:
            left, top, right, bottom = found.boxes[i]
            record['bbox'] = list(map(plain, (left, top, right - left, bottom - top)))
        if found.masks is not None:
            record['segmentation'] = run_lengths(found.masks[i])
        records.append(record)
    return records


def class_records(prediction: Prediction, image: int | str) -> list[dict[str, Any]]:
    """One record, of the surest classes."""
    assert prediction.labels is not None and prediction.scores is not None
    ids, labels = category_ids(prediction.classes), prediction.labels[:TOP]
    return [dict(image_id=image, category_ids=[ids[label] for label in labels],
                 categories=[prediction.classes[label] for label in labels],
                 scores=list(map(plain, prediction.scores[:TOP])))]


def segment_records(prediction: Prediction, image: int | str) -> list[dict[str, Any]]:
    """A record for each class that there is."""
    assert prediction.segmentation is not None
    ids = category_ids(prediction.classes)
    return [dict(image_id=image, category_id=ids[label], category=prediction.classes[label],
                 segmentation=run_lengths(prediction.segmentation == label))
            for label in map(int, np.unique(prediction.segmentation)) if label < len(ids)]


def saliency_records(prediction: Prediction, image: int | str) -> list[dict[str, Any]]:
    """One record, of what is salient."""
    assert prediction.saliency is not None
    salient = prediction.saliency > SALIENT
    score = plain(prediction.saliency[salient].mean()) if salient.any() else 0.
    return [dict(image_id=image, category_id=1, category='salient', score=score,
                 segmentation=run_lengths(salient))]


WRITERS = dict(classification=class_records, detection=object_records, keypoints=object_records,
               segmentation=segment_records, saliency=saliency_records)


def plain(value: Any) -> float:
    """A float32 as the shortest decimal number that means it."""
    return float(str(np.float32(value)))


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """The run-length encoding of a mask, (h, w) bool, in COCO's compressed form.

    Raises:
        UserError: If pycocotools is not installed.
    """
    try:
        from pycocotools.mask import encode
    except ModuleNotFoundError as error:
        raise UserError('masks are written with pycocotools, which is missing: pip install pycocotools') from error
    encoded = encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=list(mask.shape), counts=encoded['counts'].decode())
