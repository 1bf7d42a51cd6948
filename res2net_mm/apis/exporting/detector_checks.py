"""The objects of an exported detector beside those of the toolbox's."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..prediction import Prediction

# By what is compared, the largest error: of the number of objects, of 1 - IoU of two boxes, of scores, and of masks.
OBJECT_TOLERANCES = dict(number=0., boxes=0.01, scores=1e-3, masks=0.01)


def reference_objects(model: Any, inputs: Tensor, samples: list, classes: tuple[str, ...]) -> Prediction:
    """What mmdet's detector finds in an image.

    Args:
        model (nn.Module): The detector.
        inputs (Tensor): (1, 3, h, w), the prepared image.
        samples (list[DetDataSample]): One, with ``ori_shape`` and ``scale_factor``.
        classes (tuple[str]): Names of its classes.
    """
    with torch.no_grad():
        found = model.predict(inputs, samples)[0].pred_instances
    return Prediction('detection', tuple(samples[0].ori_shape[:2]), classes, found.labels.numpy(),
                      found.scores.numpy(), found.bboxes.numpy(),
                      found.masks.numpy() if 'masks' in found else None)


def compare_objects(found: Prediction, wanted: Prediction) -> dict[str, float]:
    """Match the objects of one image by class and IoU, and compare them.

    Args:
        found (Prediction): What a file found.
        wanted (Prediction): What the toolbox found.

    Returns:
        dict[str, float]: The largest error of each of ``OBJECT_TOLERANCES``; 1 for boxes and scores where an object has
        no partner.
    """
    ours, theirs = vars(found), vars(wanted)
    numbers = len(ours['scores']), len(theirs['scores'])
    errors = dict(number=abs(float(numbers[0] - numbers[1])), boxes=0., scores=0.)
    if wanted.masks is not None:
        errors['masks'] = 0.
    pairs = match_objects(found, wanted)
    if len(pairs) < max(numbers):
        errors.update(boxes=1., scores=1.)
    for i, k, overlap in pairs:
        errors['boxes'] = max(errors['boxes'], 1 - overlap)
        errors['scores'] = max(errors['scores'], abs(float(ours['scores'][i] - theirs['scores'][k])))
        if 'masks' in errors:
            errors['masks'] = max(errors['masks'], mask_error(ours['masks'][i], theirs['masks'][k]))
    return errors


def match_objects(found: Prediction, wanted: Prediction) -> list[tuple[int, int, float]]:
    """Pairs of objects of one class, and the IoU of their boxes: the best pairs first, each object once.

    Args:
        found (Prediction): Objects.
        wanted (Prediction): Others, in the same image.
    """
    ours, theirs = vars(found), vars(wanted)
    overlaps = box_overlaps(ours['boxes'], theirs['boxes'])
    overlaps = np.where(ours['labels'][:, None] == theirs['labels'], overlaps, 0.)
    pairs = []
    while overlaps.size and overlaps.max() > 0:
        i, k = np.unravel_index(overlaps.argmax(), overlaps.shape)
        pairs.append((int(i), int(k), float(overlaps[i, k])))
        overlaps[i], overlaps[:, k] = 0, 0
    return pairs


def box_overlaps(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n, m), the IoU of every pair of boxes (n, 4) and (m, 4); 1 for two that are equal and empty."""
    ours, theirs = ours[:, None].astype(np.float64), theirs[None].astype(np.float64)
    shared = np.clip(np.minimum(ours[..., 2:], theirs[..., 2:]) - np.maximum(ours[..., :2], theirs[..., :2]), 0, None)
    area, others = (np.prod(boxes[..., 2:] - boxes[..., :2], -1) for boxes in (ours, theirs))
    union = area + others - shared.prod(-1)
    return np.where(union > 0, shared.prod(-1) / np.maximum(union, 1e-12), (ours == theirs).all(-1))


def mask_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """1 - IoU of two masks (h, w), where one pixel more or less does not count; 0 if both are empty.

    A pixel whose probability is just 0.5 falls on either side of it, and is several percent of a small mask.
    """
    union, different = int((ours | theirs).sum()), int((ours ^ theirs).sum())
    return max(different - 1, 0) / union if union else 0.
