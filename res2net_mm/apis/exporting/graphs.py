"""Whole models as graphs: modules from prepared images to named outputs, which every exporter takes.

What the toolboxes do outside of PyTorch, in NumPy or by Python's ``if``, is written with tensors here; what they do in
PyTorch is called.
"""
from __future__ import annotations

import copy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from ...models.heads.dss_head import DSSHead
from ...models.parts import backbone_and_neck
from ...utils.config_types import ancestors, config_class
from ...utils.errors import UserError

TASK_CLASSES = {
    'mmpretrain.ImageClassifier': 'classification',
    'mmdet.BaseDetector': 'detection',
    'mmseg.EncoderDecoder': 'segmentation',
    'mmpose.TopdownPoseEstimator': 'keypoints',
}
OUTPUTS = dict(classification=('scores', ), segmentation=('logits', ), saliency=('saliency', ),
               keypoints=('keypoints', ), detection=('boxes', 'scores', 'labels', 'masks'))


def find_task(cfg: Config) -> str:
    """The task of the model of a config, one of ``prediction.TASKS``.

    Raises:
        UserError: If its class is none that is exported.
    """
    kind = config_class(cfg.model, MODELS, cfg.get('default_scope'))
    task = next((task for name, task in TASK_CLASSES.items() if name in ancestors(kind)), None)
    if task is None:
        raise UserError(f"model '{cfg.model.get('type')}' cannot be exported; those of {', '.join(TASK_CLASSES)} can")
    head = config_class(cfg.model.get('decode_head'), MODELS, cfg.get('default_scope'))
    return 'saliency' if issubclass(head, DSSHead) else task


def build_graph(model: nn.Module, task: str) -> nn.Module:
    """The graph of a whole model.

    Args:
        model (nn.Module): The model, in eval mode.
        task (str): One of ``prediction.TASKS``.

    Returns:
        nn.Module: In eval mode, from images (n, 3, h, w) float32, normalised, to a tuple of outputs: scores after
        softmax (n, classes); logits (n, classes, h, w), as mmseg's ``encode_decode`` gives them; a saliency map
        (n, h, w), 0 to 1; keypoints (n, k, 3), x and y in pixels of the images, and score, without the flip test; or of
        one image what ``build_detector_graph`` says.

    Raises:
        UserError: If a part of the model cannot be expressed.
    """
    if task == 'detection':
        from .detectors import build_detector_graph
        return build_detector_graph(model)
    if task in ('segmentation', 'saliency'):
        model = copy.deepcopy(model)  # the caller's keeps its layers, to be compared with
        replace_adaptive_pooling(model)
    return GRAPHS[task](model).eval()


class Backbone(nn.Module):
    """Images to the outputs of backbone and neck, a tuple.

    Args:
        model (nn.Module): A model of a toolbox.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(*backbone_and_neck(model))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(n, 3, h, w) -> feature maps."""
        outs = self.parts(images)
        return (outs, ) if isinstance(outs, Tensor) else tuple(outs)


class Classification(nn.Module):
    """Images to scores (n, classes).

    Args:
        model (nn.Module): mmpretrain's ImageClassifier.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if 'mmpretrain.ClsHead' not in ancestors(type(model.head)):
            raise UserError(f"head '{type(model.head).__name__}' cannot be exported: it has other scores than ClsHead")
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(n, 3, h, w) -> scores."""
        return (self.model.head(self.model.extract_feat(images)).softmax(1), )


class Segmentation(nn.Module):
    """Images to logits (n, channels, h, w).

    Args:
        model (nn.Module): mmseg's EncoderDecoder.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if model.test_cfg.get('mode', 'whole') != 'whole':
            raise UserError(f"test_cfg mode='{model.test_cfg.mode}' cannot be exported; whole images can: mode='whole'")
        self.model = model

    def logits(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) -> (n, channels, h, w)."""
        return self.model.encode_decode(images, [dict(img_shape=images.shape[2:])])

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(n, 3, h, w) -> logits."""
        return (self.logits(images), )


class Saliency(Segmentation):
    """Images to saliency maps (n, h, w), 0 to 1; arguments as those of ``Segmentation``, with a DSSHead."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(n, 3, h, w) -> maps."""
        return (self.logits(images)[:, 0].sigmoid(), )


class Keypoints(nn.Module):
    """Images to keypoints (n, k, 3): the maximum of a heatmap, a quarter of its pixel towards the higher neighbour.

    That is what mmpose's MSRAHeatmap decodes; a heatmap without a positive value has its keypoint at (-1, -1).

    Args:
        model (nn.Module): mmpose's TopdownPoseEstimator with a HeatmapHead.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        decoder: Any = getattr(model.head, 'decoder', None)
        kind = ancestors(type(decoder))
        if 'mmpose.HeatmapHead' not in ancestors(type(model.head)) or 'mmpose.MSRAHeatmap' not in kind:
            raise UserError(f"head '{type(model.head).__name__}' with codec '{type(decoder).__name__}' cannot be "
                            'exported; HeatmapHead with MSRAHeatmap can')
        if decoder.unbiased:
            raise UserError('codec MSRAHeatmap with unbiased=True cannot be exported')
        self.model = model
        self.indices = model.test_cfg.get('output_keypoint_indices')
        self.register_buffer('scale', torch.as_tensor(decoder.scale_factor, dtype=torch.float32), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(n, 3, h, w) -> keypoints."""
        maps = self.model.head(self.model.extract_feat(images))
        height, width = maps.shape[2:]
        flat = maps.flatten(2)
        score, place = flat.max(2)
        x, y = place % width, torch.div(place, width, rounding_mode='floor')

        def value(step: int) -> Tensor:
            return flat.gather(2, (place + step).clamp(0, height * width - 1)[..., None])[..., 0]

        right, down = torch.sign(value(1) - value(-1)), torch.sign(value(width) - value(-width))
        inside = (score > 0) & (x > 0) & (x < width) & (y > 0) & (y < height)
        right = right * (inside & (x > 1) & (x < width - 1))
        down = down * (inside & (y > 1) & (y < height - 1))
        points = torch.where(score[..., None] > 0, torch.stack([x, y], 2).float(), -1.)
        points = (points + torch.stack([right, down], 2) * 0.25) * self.scale
        keypoints = torch.cat([points, score[..., None]], 2)
        return (keypoints if self.indices is None else keypoints[:, self.indices], )


GRAPHS: dict[str, Any] = dict(classification=Classification, segmentation=Segmentation, saliency=Saliency,
                              keypoints=Keypoints)


# Pooling to a fixed number of cells, for sizes that are not known yet.


class AdaptivePooling(nn.Module):
    """nn.AdaptiveAvgPool2d as two products of matrices, which every exporter knows for every size.

    Args:
        size (tuple[int, int]): Height and width of the output.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, c, *size)."""
        rows, columns = (averaging_matrix(features, axis, cells) for axis, cells in zip((2, 3), self.size))
        return rows @ features @ columns.t()


def averaging_matrix(features: Tensor, axis: int, cells: int) -> Tensor:
    """(cells, length), the means over the cells of an axis of feature maps; cell i is from floor(i * length / cells) to
    ceil((i + 1) * length / cells)."""
    length = features.shape[axis]
    place = torch.arange(length, device=features.device)
    cell = torch.arange(cells, device=features.device)[:, None]
    first = torch.div(cell * length, cells, rounding_mode='floor')
    last = torch.div((cell + 1) * length + cells - 1, cells, rounding_mode='floor')
    inside = ((place >= first) & (place < last)).to(features.dtype)
    return inside / inside.sum(1, keepdim=True)


def replace_adaptive_pooling(model: nn.Module) -> None:
    """Put ``AdaptivePooling`` in the place of every nn.AdaptiveAvgPool2d of a model that gives more than one cell."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                size = child.output_size
                setattr(module, name, AdaptivePooling((size, size) if isinstance(size, int) else tuple(size)))
