"""Checks of metrics against the data and the model: what would only be noticed when the first epoch is over."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Sequence

from ...utils.config_types import ancestors
from .built import BuiltModel, BuiltSplit
from .heads import CLASSES, head_numbers
from .loading import unguarded
from .problems import SHOWN, Problem

TOOLBOXES = ('mmengine', 'mmcv', 'mmdet', 'mmseg')
IOU_METRICS = ('mIoU', 'mDice', 'mFscore')


@dataclass(frozen=True)
class MetricUse:
    """A metric, and what it is used for.

    Attributes:
        metric (Any): The metric, built.
        key (str): Its key in the config, such as 'val_evaluator.0'.
        split (BuiltSplit): The data that it scores.
        model (BuiltModel): The model whose predictions it scores.
    """

    metric: Any
    key: str
    split: BuiltSplit
    model: BuiltModel


def check_metrics(model: BuiltModel, splits: Sequence[BuiltSplit]) -> Iterator[Problem]:
    """Check that every metric can score what the model predicts on the data.

    Args:
        model (BuiltModel): The model.
        splits (Sequence[BuiltSplit]): The data that it is trained and evaluated on.
    """
    yield from check_training_accuracy(model)
    for split in splits:
        several = isinstance(model.config.get(f'{split.name}_evaluator'), (list, tuple))
        for number, metric in enumerate(split.metrics):
            if getattr(metric, 'format_only', False):
                continue
            key = f'{split.name}_evaluator' + (f'.{number}' if several else '')
            bases = ancestors(type(metric))
            for check in (check for name, checks in CHECKS.items() if name in bases for check in checks):
                yield from check(MetricUse(metric, key, split, model))


def check_training_accuracy(model: BuiltModel) -> Iterator[Problem]:
    """Check the accuracy that a classifier's head logs while it is trained."""
    head: Any = getattr(model.module, 'head', None)
    if 'mmpretrain.ClsHead' in ancestors(type(head)) and getattr(head, 'cal_acc', False):
        topk = head.topk if isinstance(head.topk, (tuple, list)) else (head.topk, )
        yield from check_ranks('model.head.topk', topk, number_of_classes(model, []))


def check_topk(use: MetricUse) -> Iterator[Problem]:
    """Check that no score is asked for among more classes than there are."""
    topk = getattr(use.metric, 'topk', None)
    topk = () if topk is None else topk if isinstance(topk, (tuple, list)) else (topk, )
    yield from check_ranks(f'{use.key}.topk', topk, number_of_classes(use.model, use.split.datasets))


def check_ranks(key: str, topk: Sequence[int], classes: int | None) -> Iterator[Problem]:
    """Check the ranks of an accuracy.

    Args:
        key (str): The setting.
        topk (Sequence[int]): Its value.
        classes (int | None): Number of classes that the model scores; None: not known.
    """
    if classes is not None and any(k > classes for k in topk):
        kept = [str(k) for k in topk if k <= classes] or ['1']
        yield Problem(f'{key}={tuple(topk)} asks for the accuracy among the best {max(topk)} classes, and there are '
                      f'{classes}: set "{key}=({",".join(kept)},)"')


def number_of_classes(model: BuiltModel, datasets: Sequence[Any]) -> int | None:
    """How many classes a classifier scores; None if neither its head nor its data say so."""
    numbers = [head.number for head in head_numbers(model) if head.toolbox == 'mmpretrain' and head.what == CLASSES
               and head.part.startswith('model.head')]
    numbers = numbers or [len(dataset.metainfo['classes']) for dataset in datasets if dataset.metainfo.get('classes')]
    return min(numbers, default=None)


def check_average(use: MetricUse) -> Iterator[Problem]:
    """Check how scores of classes are averaged."""
    allowed = ('macro', None) if 'mmpretrain.AveragePrecision' in ancestors(type(use.metric)) else (
        'micro', 'macro', None)
    if use.metric.average not in allowed:
        yield Problem(f'{use.key}.average={use.metric.average!r} must be one of {allowed}: set {use.key}.average=None')


def check_labels_are_given(use: MetricUse) -> Iterator[Problem]:
    """Check that a classification set has labels to score by."""
    if any(getattr(dataset, 'with_label', True) is False for dataset in use.split.datasets):
        yield Problem(f'{use.key} needs labels, and its data have with_label=False: '
                      f'set {use.split.name}_dataloader.dataset.with_label=True')


def check_annotations_are_loaded(use: MetricUse) -> Iterator[Problem]:
    """Check that the pipeline of the data loads what a metric compares predictions with."""
    for dataset in use.split.datasets:
        kinds = [type(unguarded(transform)) for transform in dataset.pipeline.transforms]
        own = any(kind.__module__.partition('.')[0] not in TOOLBOXES for kind in kinds)  # it may load anything
        if kinds and not own and not any('Load' in name and 'Annotations' in name
                                         for kind in kinds for name in ancestors(kind)):
            yield Problem(f'{use.key} compares predictions with annotations, and the pipeline of '
                          f"{use.split.name}_dataloader.dataset loads none: put dict(type='LoadAnnotations') into it")


def check_iou(use: MetricUse) -> Iterator[Problem]:
    """Check what mmseg's IoUMetric computes, and what it ignores."""
    asked = use.metric.metrics if isinstance(use.metric.metrics, (list, tuple)) else [use.metric.metrics]
    unknown = [name for name in asked if name not in IOU_METRICS]
    if unknown:
        yield Problem(f'{use.key}.iou_metrics has {", ".join(unknown)}; allowed are {", ".join(IOU_METRICS)}')
    heads: Any = getattr(use.model.module, 'decode_head', None)
    ignored = getattr(heads[-1] if hasattr(heads, '__getitem__') else heads, 'ignore_index', None)
    if ignored is not None and ignored != use.metric.ignore_index:
        yield Problem(f'{use.key}.ignore_index is {use.metric.ignore_index}, but the model is trained to ignore the '
                      f'label {ignored}: set {use.key}.ignore_index={ignored}', fatal=False)


def check_masks_are_predicted(use: MetricUse) -> Iterator[Problem]:
    """Check that a detector that is scored by its masks has a head for them."""
    detector = use.model.module
    if 'segm' not in use.metric.metrics or 'mmdet.BaseDetector' not in ancestors(type(detector)):
        return
    others = any(getattr(detector, name, None) is not None for name in ('panoptic_head', 'panoptic_fusion_head'))
    single = 'mmdet.RTMDetInsHead' in ancestors(type(getattr(detector, 'bbox_head', None)))
    if not (detector.with_mask or others or single):
        yield Problem(f"{use.key}.metric has 'segm', but the model has no head for masks: set {use.key}.metric=bbox")


def check_truth_of_coco(use: MetricUse) -> Iterator[Problem]:
    """Check that a CocoMetric has annotations, and that they are of the same images as the data."""
    files = {os.path.realpath(dataset.ann_file) for dataset in use.split.datasets if getattr(dataset, 'ann_file', '')}
    own = getattr(use.metric, 'ann_file', None)
    detector = 'mmdet.CocoMetric' in ancestors(type(use.metric))
    coco = getattr(use.metric, '_coco_api' if detector else 'coco', None)
    if coco is None:
        packed = [transform for dataset in use.split.datasets for transform in dataset.pipeline.transforms
                  if 'mmdet.PackDetInputs' in ancestors(type(transform))]
        if detector and any('instances' not in transform.meta_keys for transform in packed):
            yield Problem(f'{use.key} has no ann_file, and the pipeline does not pack the annotations for it: '
                          f'set {use.key}.ann_file={first_file(use)}')
        return
    if own and {os.path.realpath(own)} == files:
        return
    known = set(coco.imgs)
    here = {info.get('img_id') for dataset in use.split.datasets for info in BuiltSplit.annotations(dataset)} - {None}
    if here - known:
        yield Problem(f'{use.key}.ann_file does not know {len(here - known)} of the {len(here)} images of '
                      f'{use.split.name}_dataloader, with the ids {list_ids(here - known)}: '
                      f'set {use.key}.ann_file={first_file(use)}')
    elif detector and here and known - here:
        yield Problem(f'{use.key}.ann_file has {len(known - here)} images that {use.split.name}_dataloader does not '
                      f'have, with the ids {list_ids(known - here)}: their objects count as not found', fatal=False)


def first_file(use: MetricUse) -> str:
    """The annotation file of the first dataset that has one."""
    return next((dataset.ann_file for dataset in use.split.datasets if getattr(dataset, 'ann_file', '')), 'FILE')


def list_ids(ids: set) -> str:
    """The first of some ids in words."""
    return ', '.join([*sorted(map(str, ids))[:SHOWN], *(['...'] if len(ids) > SHOWN else [])])


def check_norm_items(use: MetricUse) -> Iterator[Problem]:
    """Check that a pose set has the sizes by which distances are divided."""
    items = use.metric.norm_item if isinstance(use.metric.norm_item, (list, tuple)) else [use.metric.norm_item]
    needs = {'bbox': 'bbox', 'bbox_size': 'bbox', 'head': 'head_size'}
    for dataset in use.split.datasets:
        info = next(BuiltSplit.annotations(dataset), None)
        missing = [item for item in items if info is not None and item in needs and info.get(needs[item]) is None]
        if missing:
            yield Problem(f'{use.key}.norm_item={missing[0]!r} needs {needs[missing[0]]} of every person, which '
                          f'{dataset.ann_file} has not: set {use.key}.norm_item=bbox')


def check_sigmas(use: MetricUse) -> Iterator[Problem]:
    """Check that OKS has a sigma for every keypoint."""
    meta = getattr(use.metric, 'dataset_meta', None) or {}
    count, sigmas = meta.get('num_keypoints'), meta.get('sigmas')
    if count and sigmas is not None and len(sigmas) != count:
        yield Problem(f'{use.key}: the metainfo of the data has {count} keypoints and {len(sigmas)} sigmas; '
                      'it needs one for each')


MetricCheck = Callable[[MetricUse], Iterator[Problem]]
CHECKS: dict[str, Sequence[MetricCheck]] = {
    'mmpretrain.Accuracy': (check_topk, check_labels_are_given),
    'mmpretrain.SingleLabelMetric': (check_average, check_labels_are_given),
    'mmpretrain.MultiLabelMetric': (check_topk, check_average),
    'mmpretrain.AveragePrecision': (check_average, ),
    'mmseg.IoUMetric': (check_iou, check_annotations_are_loaded),
    'mmdet.VOCMetric': (check_annotations_are_loaded, ),
    'mmdet.CocoMetric': (check_masks_are_predicted, check_truth_of_coco),
    'mmpose.CocoMetric': (check_truth_of_coco, check_sigmas),
    'mmpose.PCKAccuracy': (check_norm_items, ),
    'mmpose.NME': (check_norm_items, ),
}
