"""The toolboxes' data samples as predictions."""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import torch

from ..utils.errors import UserError
from .prediction import Prediction, keypoint_scores


def to_prediction(task: str, sample: Any, size: tuple[int, int], classes: tuple[str, ...]) -> Prediction:
    """Read one data sample.

    Args:
        task (str): 'classification', 'detection', 'segmentation' or 'saliency'.
        sample (BaseDataElement): What ``model.test_step`` returns for an image.
        size (tuple[int, int]): Height and width of the image.
        classes (tuple[str]): Names of the classes.
    """
    return READERS[task](sample, size, classes)


def read_classification(sample: Any, size: tuple[int, int], classes: tuple[str, ...]) -> Prediction:
    """All classes, the surest first."""
    scores = to_numpy(sample.pred_score).astype(np.float32)
    order = np.argsort(-scores, kind='stable')
    return Prediction('classification', size, classes, order.astype(np.int64), scores[order])


def read_detection(sample: Any, size: tuple[int, int], classes: tuple[str, ...]) -> Prediction:
    """Boxes, and masks where there are some."""
    if 'pred_instances' not in sample:
        raise UserError('the model predicts no objects but segments of things and stuff together (panoptic '
                        'segmentation), for which there is no result here')
    found = sample.pred_instances
    scores = to_numpy(found.scores).astype(np.float32)
    order = np.argsort(-scores, kind='stable')
    masks = to_numpy(found.masks).astype(bool)[order] if 'masks' in found else None
    return Prediction('detection', size, classes, to_numpy(found.labels).astype(np.int64)[order], scores[order],
                      boxes=to_numpy(found.bboxes).astype(np.float32)[order], masks=masks)


def read_segmentation(sample: Any, size: tuple[int, int], classes: tuple[str, ...]) -> Prediction:
    """The class of each pixel."""
    labels = to_numpy(sample.pred_sem_seg.data[0])
    kind = np.uint8 if len(classes) <= 256 else np.uint16
    return Prediction('segmentation', size, classes, segmentation=labels.astype(kind))


def read_saliency(sample: Any, size: tuple[int, int], classes: tuple[str, ...]) -> Prediction:
    """The map; mmseg has applied the sigmoid where a head has one channel."""
    return Prediction('saliency', size, classes, saliency=to_numpy(sample.seg_logits.data[0]).astype(np.float32))


READERS = dict(classification=read_classification, detection=read_detection, segmentation=read_segmentation,
               saliency=read_saliency)


def read_keypoints(samples: Sequence[Any], size: tuple[int, int], classes: tuple[str, ...], num_keypoints: int,
                   skeleton: tuple[tuple[int, int], ...]) -> Prediction:
    """The keypoints of all objects of an image.

    The score of an object is that of its box times the mean score of its visible keypoints, as in mmpose's evaluation.

    Args:
        samples (Sequence[PoseDataSample]): One or several, with an object or more each; may be empty.
        size (tuple[int, int]): Height and width of the image.
        classes (tuple[str]): What the objects are.
        num_keypoints (int): How many keypoints an object has.
        skeleton (tuple[tuple[int, int]]): Pairs of keypoints to draw a line between.
    """
    found = [sample.pred_instances for sample in samples]
    if not found:
        keypoints = np.zeros((0, num_keypoints, 3), np.float32)
        return Prediction('keypoints', size, classes, np.zeros(0, np.int64), np.zeros(0, np.float32),
                          np.zeros((0, 4), np.float32), keypoints=keypoints, skeleton=skeleton)
    keypoints = np.concatenate([np.dstack([to_numpy(one.keypoints)[..., :2], to_numpy(one.keypoint_scores)])
                                for one in found]).astype(np.float32)
    boxes = np.concatenate([to_numpy(one.bboxes) for one in found]).astype(np.float32)
    box_scores = np.concatenate([to_numpy(one.bbox_scores) for one in found])
    scores = keypoint_scores(keypoints, box_scores)
    order = np.argsort(-scores, kind='stable')
    return Prediction('keypoints', size, classes, np.zeros(len(scores), np.int64), scores[order], boxes[order],
                      keypoints=keypoints[order], skeleton=skeleton)


def to_numpy(values: Any) -> np.ndarray:
    """A tensor of any device and type, or an array; NumPy has no bfloat16."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
