"""What a class activation map explains: one number of the output of a classifier, a segmentor or a detector."""
from __future__ import annotations

import copy
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Iterator
from unittest import mock

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn


@dataclass(frozen=True)
class Answer:
    """What a model says of an image, and can be asked to explain.

    Attributes:
        label (int): The class.
        score (float): Classifier, detector: the class's probability. Segmentor: its share of the pixels.
        target (Callable): Takes the model's output for one image to the number that is explained.
        outline (np.ndarray | None): (h, w) bool, what to draw a line around: the box, or the pixels of the class.
    """

    label: int
    score: float
    target: Callable[[object], Tensor]
    outline: np.ndarray | None = None


class Task(nn.Module):
    """A model as grad-cam takes it: images to a tensor, or to a sequence with the output for each of them.

    Args:
        model (nn.Module): A model of a toolbox.

    Attributes:
        method (str): The class of grad-cam that suits it.
        sample (BaseDataElement): The data sample of the image; it is set before the image is run.
    """

    method: str
    sample: BaseDataElement

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def answer(self, output: Any, label: int | None = None, region: np.ndarray | None = None) -> Answer | None:
        """What the model says of an image, by its output for it.

        Args:
            output (Any): The output.
            label (int | None): The class to ask about. Defaults to None, what the model sees most clearly.
            region (np.ndarray | None): (h, w) bool, where in the network's input. Defaults to None, everywhere.

        Returns:
            Answer | None: The answer; None if the model does not see such an object.
        """
        raise NotImplementedError


class ClassifierTask(Task):
    """An mmpretrain model as grad-cam takes it: (n, c, h, w) -> logits (n, classes)."""

    method = 'GradCAM'

    def forward(self, batch: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, classes)."""
        return self.model(batch, mode='tensor')

    def answer(self, output: Tensor, label: int | None = None, region: np.ndarray | None = None) -> Answer | None:
        """The answer for one image's output: of a class, or of the most likely; a region makes no difference."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        label = int(output.argmax()) if label is None else label
        return Answer(label, output.softmax(0)[label].item(), ClassifierOutputTarget(label))


class SegmentorTask(Task):
    """An mmseg model as grad-cam takes it: (n, c, h, w) -> logits (n, classes, h, w)."""

    method = 'HiResCAM'

    def forward(self, batch: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, classes, h, w)."""
        logits = self.model.encode_decode(batch, [dict(img_shape=batch.shape[2:])] * len(batch))
        # A single logit is that of the foreground, against a background of 0.
        return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)

    def answer(self, output: Tensor, label: int | None = None, region: np.ndarray | None = None) -> Answer | None:
        """The answer for one image's output: of a class, or of the most frequent but the first (background).

        Returns None if no pixel (of the region) is predicted as the class.
        """
        from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
        predicted = output.argmax(0).cpu().numpy()
        if label is None:
            counts = np.bincount(predicted.ravel(), minlength=len(output))
            label = int(counts[1:].argmax()) + 1 if counts[1:].any() else 0
        mask = predicted == label
        if region is not None:
            mask &= region
        if not mask.any():
            return None
        return Answer(label, mask.mean().item(), SemanticSegmentationTarget(label, mask.astype(np.float32)), mask)


class DetectorTask(Task):
    """An mmdet model as grad-cam takes it: (n, c, h, w) -> for each image its detections in the frame of the input."""

    method = 'HiResCAM'

    def forward(self, batch: Tensor) -> list[InstanceData]:
        """(n, c, h, w) -> the detections of every image, in pixels of the batch."""
        samples = [copy.deepcopy(self.sample) for _ in batch]  # the detector asks for sizes and scale
        with scores_keep_gradients():
            return [sample.pred_instances for sample in self.model.predict(batch, samples, rescale=False)]

    def answer(self, output: InstanceData, label: int | None = None, region: np.ndarray | None = None) -> Answer | None:
        """The answer for one image's output: the best detection, of a class, or on the box of a region.

        Returns None if there is no such detection.
        """
        candidates = torch.ones_like(output.labels, dtype=torch.bool) if label is None else output.labels == label
        if region is not None:
            rows, columns = np.nonzero(region)
            box = output.bboxes.new_tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            candidates &= overlap_mask(output.bboxes, box)
        if not candidates.any():
            return None
        best = torch.where(candidates, output.scores, -1).argmax()
        label, box = int(output.labels[best]), output.bboxes[best].detach()
        left, top, right, bottom = box.round().int().tolist()
        outline = np.zeros(self.sample.img_shape[:2], bool)
        outline[max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)] = True
        return Answer(label, output.scores[best].item(), DetectionTarget(label, box), outline)


@contextmanager
def scores_keep_gradients() -> Iterator[None]:
    """Have mmdet's dense heads predict without cutting the gradient, which one function does for all of them."""
    from mmdet.models.utils import select_single_mlvl

    def differentiable(tensors, index, detach=True):
        return select_single_mlvl(tensors, index, detach=False)

    users = [module for name, module in sys.modules.items() if name.startswith('mmdet.models')
             and vars(module).get('select_single_mlvl') is select_single_mlvl]
    with ExitStack() as stack:
        for module in users:
            stack.enter_context(mock.patch.object(module, 'select_single_mlvl', differentiable))
        yield


class DetectionTarget:
    """The best score among the detections of a class that overlap a box with an IoU of at least 0.5; 0 without any.

    Args:
        label (int): The class.
        box (Tensor): (4, ), left, top, right and bottom in pixels.
    """

    def __init__(self, label: int, box: Tensor) -> None:
        self.label = label
        self.box = box

    def __call__(self, output: InstanceData) -> Tensor:
        scores = output.scores[(output.labels == self.label) & overlap_mask(output.bboxes, self.box)]
        return scores.max() if len(scores) else output.scores.sum() * 0


def overlap_mask(boxes: Tensor, box: Tensor) -> Tensor:
    """Which of the boxes, (n, 4), overlap a box, (4, ), with an IoU of at least 0.5: (n, ) bool."""
    from torchvision.ops import box_iou
    return box_iou(boxes.detach(), box[None])[:, 0] >= 0.5


TASKS: dict[str, type[Task]] = {'mmpretrain': ClassifierTask, 'mmseg': SegmentorTask, 'mmdet': DetectorTask}
