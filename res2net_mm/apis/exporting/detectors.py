"""Two-stage detectors as a graph from one image to its objects, in standard operations alone.

mmdet's ``predict`` works on lists of samples and chooses in Python what to compute. Here the same is computed by
operations that exist in ONNX, for images of any size, and where nothing is found.
"""
from __future__ import annotations

import math
from typing import Sequence

import torch
from mmdet.models.roi_heads import SingleRoIExtractor
from mmdet.models.task_modules import DeltaXYWHBBoxCoder
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.ops import nms, roi_align

from .two_stage import check_two_stage, nms_threshold, stages_of

LARGEST_DELTA = -math.log(16 / 1000)  # of the logarithm of a side: mmdet's wh_ratio_clip, which no config sets


def build_detector_graph(model: nn.Module) -> nn.Module:
    """The graph of a two-stage detector of mmdet.

    Its ``forward`` takes one image (1, 3, h, w), float32, normalised, of any size, and pads it as the model's data
    preprocessor does. It returns boxes (n, 4) in pixels of that image, scores (n, ), labels (n, ) int64, and with a
    mask head also masks (n, 28, 28), the probabilities within the boxes: ``apis.masks.paste_masks`` makes masks of the
    image of them. The surest object is the first.

    Args:
        model (nn.Module): Faster, Mask, Cascade or Cascade Mask R-CNN; it is set to eval mode.

    Raises:
        UserError: If it is of another kind, or has a part that standard operations cannot express.
    """
    check_two_stage(model)
    return TwoStageGraph(model).eval()


class TwoStageGraph(nn.Module):
    """What :func:`build_detector_graph` returns.

    Args:
        model (nn.Module): A detector that ``check_two_stage`` accepts.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        preprocessor = model.data_preprocessor
        self.pad_divisor: int = getattr(preprocessor, 'pad_size_divisor', 1)
        self.pad_value: float = getattr(preprocessor, 'pad_value', 0)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Find the objects of an image (1, 3, h, w)."""
        height, width = map(size_tensor, image.shape[2:])
        limits = torch.stack([width, height, width, height]).to(image)  # of left, top, right and bottom
        features = self.model.extract_feat(self.pad(image))
        boxes = self.propose(features, limits)
        boxes, scores, labels = self.classify(features, boxes, limits)
        if not self.model.with_mask:
            return boxes, scores, labels
        return boxes, scores, labels, self.segment(features, boxes, labels)

    def pad(self, image: Tensor) -> Tensor:
        """The image with right and bottom borders, so that its sides are multiples of the divisor."""
        height, width = image.shape[2:]
        return pad(image, (0, -width % self.pad_divisor, 0, -height % self.pad_divisor), value=self.pad_value)

    def propose(self, features: Sequence[Tensor], limits: Tensor) -> Tensor:
        """The proposals of the RPN, (n, 4)."""
        head, settings = self.model.rpn_head, self.model.test_cfg.rpn
        logit_maps, delta_maps = head(features)
        anchors_of_levels = head.prior_generator.grid_priors(
            [logits.shape[-2:] for logits in logit_maps], device=logit_maps[0].device)
        candidates = []
        for level, (logits, deltas, anchors) in enumerate(zip(logit_maps, delta_maps, anchors_of_levels)):
            logits = logits[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels)
            deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
            scores = logits[:, 0].sigmoid() if head.use_sigmoid_cls else logits.softmax(1)[:, 0]
            if settings.get('nms_pre', -1) > 0:
                scores, best = scores.topk(size_tensor(scores.shape[0]).clamp(max=settings.nms_pre))
                deltas, anchors = deltas[best], anchors[best]
            boxes = decode(head.bbox_coder, anchors, deltas, limits)
            candidates.append((boxes, scores, torch.full_like(scores, level)))
        boxes, scores, levels = map(torch.cat, zip(*candidates))
        least = settings.get('min_bbox_size', -1)
        if least >= 0:
            large = (boxes[:, 2:] - boxes[:, :2] > least).all(1).nonzero()[:, 0]
            boxes, scores, levels = boxes[large], scores[large], levels[large]
        return boxes[suppress(boxes, scores, levels, settings.nms)[:settings.max_per_img]]

    def classify(self, features: Sequence[Tensor], boxes: Tensor, limits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify and refine proposals, stage by stage: boxes (n, 4), scores (n, ) and labels (n, )."""
        roi_head, settings = self.model.roi_head, self.model.test_cfg.rcnn
        heads, extractors = stages_of(roi_head.bbox_head), stages_of(roi_head.bbox_roi_extractor)
        logits = []
        for stage, (head, extractor) in enumerate(zip(heads, extractors)):
            stage_logits, deltas = head(self.pool(extractor, features, boxes))
            logits.append(stage_logits)
            if stage < len(heads) - 1:
                label = stage_logits[:, :-1].argmax(1)
                boxes = decode(head.bbox_coder, boxes, of_class(deltas, label, head), limits)
        scores = (sum(logits) / len(logits)).softmax(1)[:, :-1]
        which, labels = (scores > settings.score_thr).nonzero().unbind(1)
        scores = scores[which, labels]
        boxes = decode(head.bbox_coder, boxes[which], of_class(deltas[which], labels, head), limits)
        kept = suppress(boxes, scores, labels, settings.nms)
        if settings.max_per_img > 0:
            kept = kept[:settings.max_per_img]
        return boxes[kept], scores[kept], labels[kept]

    def segment(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """The probabilities of the masks within boxes, (n, 28, 28), the average of all stages."""
        roi_head, masks = self.model.roi_head, []
        for head, extractor in zip(stages_of(roi_head.mask_head), stages_of(roi_head.mask_roi_extractor)):
            logits = head(self.pool(extractor, features, boxes))
            label = torch.zeros_like(labels) if head.class_agnostic else labels
            masks.append(logits[torch.arange(label.shape[0], device=label.device), label].sigmoid())
        return sum(masks) / len(masks)

    def pool(self, extractor: SingleRoIExtractor, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """The features of boxes, (n, channels, height, width), each from the level that fits its size.

        Each box is pooled once: boxes are grouped by level, and what was pooled is put into their order.
        """
        rois = pad(boxes, (1, 0))  # the first number is the image of the batch
        sides = boxes[:, 2:] - boxes[:, :2]
        levels = (sides.prod(1).sqrt() / extractor.finest_scale + 1e-6).log2().floor()
        levels = levels.clamp(0, extractor.num_inputs - 1)
        places, pooled = [], []
        for level, (layer, maps) in enumerate(zip(extractor.roi_layers, features)):
            here = (levels == level).nonzero()[:, 0]
            places.append(here)
            pooled.append(roi_align(maps, rois[here], layer.output_size, layer.spatial_scale,
                                    layer.sampling_ratio, layer.aligned))
        place = torch.cat(places)
        order = torch.zeros_like(place).scatter(0, place, torch.arange(place.shape[0], device=place.device))
        out = torch.cat(pooled)[order]
        return self.model.roi_head.shared_head(out) if self.model.roi_head.with_shared_head else out


def size_tensor(size: int) -> Tensor:
    """A size as a tensor, which the tracer and torch.export both follow back to the image."""
    return torch.scalar_tensor(size, dtype=torch.long)


def decode(coder: DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, limits: Tensor) -> Tensor:
    """Boxes (n, 4) moved by deltas (n, 4) in the units of a coder, and clipped to the image."""
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) * 0.5 + sides * deltas[:, :2]
    half = sides * deltas[:, 2:].clamp(-LARGEST_DELTA, LARGEST_DELTA).exp() * 0.5
    return torch.cat([centres - half, centres + half], 1).clamp(min=0).minimum(limits)


def of_class(deltas: Tensor, label: Tensor, head: nn.Module) -> Tensor:
    """Of the deltas of every class, (n, 4 * classes), those of one class for each box, (n, 4)."""
    if head.reg_class_agnostic:
        return deltas
    return deltas.reshape(-1, head.num_classes, 4)[torch.arange(label.shape[0], device=label.device), label]


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, settings: dict) -> Tensor:
    """The indices of the boxes that no surer box of their group covers, the surest first.

    Groups are moved apart, as mmcv does it: with the same rounding, the same boxes stay.
    """
    if not settings.get('class_agnostic', False):
        largest = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max()  # there may be no box
        boxes = boxes + (groups.to(boxes) * (largest + 1))[:, None]
    return nms(boxes, scores, nms_threshold(settings))
