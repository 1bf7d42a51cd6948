"""Which detectors can be exported whole: decided by the functions that run, not by names."""
from __future__ import annotations

from typing import Any, Iterator

from mmcv.ops import DeformConv2d, ModulatedDeformConv2d, RoIAlign, nms
from mmdet.models.dense_heads import RPNHead
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, SingleRoIExtractor, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch import nn

from ...utils.errors import UserError

SUPPORTED = ('Faster R-CNN, Mask R-CNN, Cascade R-CNN and Cascade Mask R-CNN, with one or more feature maps, RoIAlign '
             'and plain non-maximum suppression, without deformable convolutions')
# A subclass is treated as its base is, unless it has its own version of what the graph does in the base's place.
REPLACED = {
    TwoStageDetector: ('extract_feat', 'predict', 'with_mask'),
    RPNHead: ('predict', 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process'),
    StandardRoIHead: ('predict', 'predict_bbox', 'predict_mask', '_bbox_forward', '_mask_forward'),
    CascadeRoIHead: ('predict', 'predict_bbox', 'predict_mask', '_bbox_forward', '_mask_forward', '_refine_roi'),
    SingleRoIExtractor: ('forward', 'map_roi_levels'),
    RoIAlign: ('forward', ),
    BBoxHead: ('predict_by_feat', '_predict_by_feat_single', 'regress_by_class'),
    FCNMaskHead: ('predict_by_feat', '_predict_by_feat_single'),
    AnchorGenerator: ('grid_priors', 'single_level_grid_priors'),
    DeltaXYWHBBoxCoder: ('decode', ),
}
NMS_SETTINGS = {'type', 'iou_threshold', 'iou_thr', 'class_agnostic', 'split_thr'}


def check_two_stage(model: nn.Module) -> None:
    """Raise an error unless the graph of ``detectors.py`` computes what a model does.

    Args:
        model (nn.Module): A detector of mmdet.

    Raises:
        UserError: If a part of it is of another kind; the message names the part and what is supported.
    """
    problem = next(_problems(model), None)
    if problem:
        raise UserError(f'model {type(model).__name__} cannot be exported as a whole detector: {problem}; supported '
                        f'are {SUPPORTED}. Its backbone and neck can be exported alone.')


def stages_of(parts: Any) -> list:
    """The parts of every stage of a RoI head: of one, unless it is a cascade."""
    return list(parts) if isinstance(parts, nn.ModuleList) else [parts]


def nms_threshold(settings: dict) -> float:
    """The IoU above which mmcv's ``nms`` drops a box."""
    return float(settings['iou_threshold'] if 'iou_threshold' in settings else settings['iou_thr'])


def _problems(model: nn.Module) -> Iterator[str]:
    yield from _foreign('model', model, TwoStageDetector)
    roi_head = model.roi_head
    yield from _foreign('rpn_head', model.rpn_head, RPNHead)
    yield from _foreign('roi_head', roi_head, StandardRoIHead, CascadeRoIHead)
    for head in stages_of(roi_head.bbox_head):
        yield from _foreign('bbox_head', head, BBoxHead)
        if head.custom_activation or head.custom_cls_channels:
            yield f'its loss {type(head.loss_cls).__name__} has an activation of its own'
    for head in stages_of(roi_head.mask_head) if model.with_mask else []:
        yield from _foreign('mask_head', head, FCNMaskHead)
    extractors = stages_of(roi_head.bbox_roi_extractor)
    for extractor in extractors + (stages_of(roi_head.mask_roi_extractor) if model.with_mask else []):
        yield from _foreign('roi_extractor', extractor, SingleRoIExtractor)
        for layer in extractor.roi_layers:
            yield from _foreign('roi_layer', layer, RoIAlign)
            if layer.pool_mode != 'avg':
                yield f"its RoIAlign has pool_mode '{layer.pool_mode}', not 'avg'"
    yield from _foreign('anchor_generator', model.rpn_head.prior_generator, AnchorGenerator)
    for head in (model.rpn_head, *stages_of(roi_head.bbox_head)):
        yield from _foreign('bbox_coder', head.bbox_coder, DeltaXYWHBBoxCoder)
        if not head.bbox_coder.clip_border or head.bbox_coder.add_ctr_clamp:
            yield 'its boxes are not clipped to the image, or their centres are'
    for settings in (model.test_cfg.rpn.nms, model.test_cfg.rcnn.nms):
        if settings.get('type', nms) not in ('nms', nms) or set(settings) - NMS_SETTINGS:
            yield f'its non-maximum suppression is {dict(settings)}'
    for name, module in model.named_modules():
        if isinstance(module, (DeformConv2d, ModulatedDeformConv2d)):
            yield f'{name} is a deformable convolution, which ONNX Runtime and OpenVINO do not have'


def _foreign(role: str, part: Any, *bases: type) -> Iterator[str]:
    """What a part has of its own in the place of what the graph computes."""
    base = next((base for base in bases if isinstance(part, base)), None)
    if base is None:
        yield f'its {role} is a {type(part).__name__}, not a {" or ".join(base.__name__ for base in bases)}'
        return
    for name in REPLACED[base]:
        if getattr(type(part), name) is not getattr(base, name):
            yield f'its {role} {type(part).__name__} has a {name} of its own'
