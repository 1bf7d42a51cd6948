"""What a model says about an image, the same for every task, for models in PyTorch and exported ones; NumPy alone."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

TASKS = ('classification', 'detection', 'segmentation', 'saliency', 'keypoints')
VISIBLE = 0.2  # keypoints below do not count for the score of an object: the default of mmpose's CocoMetric


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image, in pixels of that image.

    ``labels``, ``scores``, ``boxes``, ``masks`` and ``keypoints`` have one entry for each object, the surest first. A
    classifier's objects are its classes: all of them. What a task does not have is None.

    Args:
        task (str): One of ``TASKS``; instance segmentation is 'detection' with masks.
        size (tuple[int, int]): Height and width of the image.
        classes (tuple[str]): Names of the classes. For keypoints those of the objects, such as ('person', ).
        labels (np.ndarray | None): (n,) int64, indices of ``classes``.
        scores (np.ndarray | None): (n,) float32, 0 to 1.
        boxes (np.ndarray | None): (n, 4) float32: left, top, right, bottom.
        masks (np.ndarray | None): (n, h, w) bool.
        keypoints (np.ndarray | None): (n, k, 3) float32: x, y and score.
        skeleton (tuple[tuple[int, int]]): Pairs of keypoints to draw a line between. Defaults to ().
        segmentation (np.ndarray | None): (h, w) uint8 or uint16, indices of ``classes``.
        saliency (np.ndarray | None): (h, w) float32, 0 to 1.
    """

    task: str
    size: tuple[int, int]
    classes: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    scores: np.ndarray | None = None
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    skeleton: tuple[tuple[int, int], ...] = ()
    segmentation: np.ndarray | None = None
    saliency: np.ndarray | None = None

    def select(self, score: float = 0., classes: tuple[str, ...] | None = None) -> Prediction:
        """The same, with the objects alone that are sure enough and of some classes.

        Args:
            score (float): The least score of an object. Defaults to 0, all.
            classes (tuple[str] | None): Names of the classes to keep. Defaults to None, all.
        """
        if self.scores is None or self.labels is None:
            return self
        kept = self.scores >= score
        if classes is not None:
            kept &= np.isin(self.labels, [i for i, name in enumerate(self.classes) if name in classes])
        return replace(self, labels=self.labels[kept], scores=self.scores[kept], **{
            name: value[kept] for name, value in
            (('boxes', self.boxes), ('masks', self.masks), ('keypoints', self.keypoints)) if value is not None})


def keypoint_scores(keypoints: np.ndarray, box_scores: np.ndarray | None = None) -> np.ndarray:
    """The scores of objects with keypoints, (n, ) float32: that of the box times the mean of its visible keypoints.

    Args:
        keypoints (np.ndarray): (n, k, 3): x, y and score.
        box_scores (np.ndarray | None): (n, ). Defaults to None: every box is sure.
    """
    visible = keypoints[..., 2] > VISIBLE
    scores = (keypoints[..., 2] * visible).sum(1) / np.maximum(visible.sum(1), 1)
    return (scores if box_scores is None else scores * box_scores).astype(np.float32)
