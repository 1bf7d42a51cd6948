"""Checks of a dataset against the heads of the model: as many classes, keypoints and labels as they predict.

The class of a head decides what of it counts. Heads that have numbers of their own are left alone: region proposals
(one class), masks for all classes alike, semantic branches of detectors, edges of objects, and heads that read text.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from ...utils.config_types import ancestors
from .built import BuiltModel, BuiltSplit
from .problems import SHOWN, Problem

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset
    from torch import nn

CLASSES, THINGS, STUFF, KEYPOINTS = 'classes', 'thing classes', 'stuff classes', 'keypoints'
# The base class of a toolbox's datasets that each toolbox's heads learn from.
DATASETS = dict(
    mmdet=('mmdet.BaseDetDataset', 'mmdet.YouTubeVISDataset'), mmseg=('mmseg.BaseSegDataset', 'mmseg.BaseCDDataset'),
    mmpretrain=('mmpretrain.BaseDataset', ), mmpose=('mmpose.BaseCocoStyleDataset', ))
DATASETS['res2net_mm'] = DATASETS['mmseg']
# For a base class of heads, the argument that is a number of what. The first row that a class inherits from counts.
RULES: Sequence[tuple[str, dict[str, str]]] = (
    *((name, {}) for name in (  # with numbers of their own
        'mmdet.RPNHead', 'mmdet.GARPNHead', 'mmdet.CascadeRPNHead', 'mmdet.GroundingDINOHead', 'mmdet.ATSSVLFusionHead',
        'mmseg.STDCHead', 'mmseg.VPDDepthHead', 'mmseg.IterativeDecodeHead', 'mmpretrain.RegressionHead',
        'mmpose.Heatmap3DHead')),
    ('mmseg.MaskFormerHead', dict(num_classes=CLASSES)),
    ('mmseg.Mask2FormerHead', dict(num_classes=CLASSES)),
    ('mmdet.MaskFormerHead', dict(num_things_classes=THINGS, num_stuff_classes=STUFF)),
    *((f'mmdet.{name}', dict(num_classes=THINGS)) for name in (
        'BaseDenseHead', 'DETRHead', 'BaseMaskHead', 'BBoxHead', 'FCNMaskHead', 'MaskPointHead', 'MaskIoUHead',
        'GlobalContextHead', 'SeesawLoss', 'EQLV2Loss')),
    *((f'mmseg.{name}', dict(num_classes=CLASSES)) for name in ('BaseDecodeHead', 'KernelUpdateHead')),
    ('res2net_mm.DSSHead', dict(num_classes=CLASSES)),
    *((f'mmpretrain.{name}', dict(num_classes=CLASSES)) for name in (
        'ClsHead', 'MultiLabelClsHead', 'LabelSmoothLoss', 'SeesawLoss')),
    *((f'mmpose.{name}', dict(num_keypoints=KEYPOINTS)) for name in (
        'AssociativeEmbeddingHead', 'CIDHead', 'DEKRHead', 'YOLOXPoseHead', 'EDPoseHead')),
    *((f'mmpose.{name}', dict(out_channels=KEYPOINTS)) for name in (
        'HeatmapHead', 'CPMHead', 'MSPNHead', 'SimCCHead', 'RTMCCHead', 'RTMWHead')),
    *((f'mmpose.{name}', dict(num_joints=KEYPOINTS)) for name in (
        'RegressionHead', 'RLEHead', 'IntegralRegressionHead')),
)


@dataclass(frozen=True)
class HeadNumber:
    """A number that a part of the model was built with and that the data have to agree with.

    Attributes:
        toolbox (str): The toolbox whose datasets it is for.
        what (str): What it is a number of, such as ``CLASSES``.
        number (int): The number.
        part (str): The part of the model, as a key of the config.
        key (str): The argument, as a key of the config; '' if it cannot be set.
        factor (int): How many outputs there are for one of what is counted. Defaults to 1.
    """

    toolbox: str
    what: str
    number: int
    part: str
    key: str
    factor: int = 1


def check_heads(model: BuiltModel, splits: Sequence[BuiltSplit]) -> Iterator[Problem]:
    """Check that the datasets have as many classes or keypoints as every head predicts, and number them alike.

    Args:
        model (BuiltModel): The model.
        splits (Sequence[BuiltSplit]): The data that it is trained and evaluated on.
    """
    numbers = list(head_numbers(model))
    toolboxes = {number.toolbox for number in numbers}
    datasets = [(split.name, dataset) for split in splits for dataset in split.datasets
                if any(learns_from(toolbox, dataset) for toolbox in toolboxes)]
    texts = dict.fromkeys(dataset.metainfo['classes'] for _, dataset in datasets
                          if isinstance(dataset.metainfo.get('classes'), str))
    if texts:
        yield from (Problem(f'metainfo.classes={text!r} of a dataset is text, of which each letter would be a class: '
                            f'write classes=({text!r}, ), with a comma') for text in texts)
        return
    yield from compare_counts(numbers, datasets)
    yield from compare_names(datasets)


def head_numbers(model: BuiltModel) -> Iterator[HeadNumber]:
    """The numbers in a model that data have to agree with."""
    inside_tasks = ''  # a head of several tasks, each with labels of its own
    for path, module in model.module.named_modules():
        bases = ancestors(type(module))
        if 'mmpretrain.MultiTaskHead' in bases:
            inside_tasks = path + '.'
        if inside_tasks and path.startswith(inside_tasks) or 'rpn_head' in path.split('.'):
            continue
        if getattr(module, 'class_agnostic', False):  # a mask head with one mask for all classes
            continue
        name, arguments = next(((name, arguments) for name, arguments in RULES if name in bases), ('', {}))
        part = config_key(model.config, path)
        for argument, what in arguments.items():
            number = getattr(module, argument, None)
            if isinstance(number, int) and number >= 0:
                fixed = name == 'res2net_mm.DSSHead'
                yield HeadNumber(name.partition('.')[0], what, number, part, '' if fixed else f'{part}.{argument}',
                                 outputs_per_keypoint(module))
        if 'mmpretrain.ClsDataPreprocessor' in bases and module.batch_augments and module.num_classes:
            part = 'data_preprocessor' if model.config.get('data_preprocessor') else part
            yield HeadNumber('mmpretrain', CLASSES, module.num_classes, part, f'{part}.num_classes')


def outputs_per_keypoint(head: nn.Module) -> int:
    """How many channels of its output a head has for a keypoint: three if a heat map comes with two offsets."""
    codec: Any = getattr(head, 'decoder', None)
    combined = 'mmpose.UDPHeatmap' in ancestors(type(codec)) and codec.heatmap_type == 'combined'
    return 3 if combined and hasattr(head, 'out_channels') else 1


def config_key(config: Any, path: str) -> str:
    """The key of the config, as --cfg-options takes it, for a module of the model.

    Args:
        config (Config | dict): The whole config.
        path (str): The module's name in the model, such as 'roi_head.bbox_head.0'.
    """
    keys, node = ['model'], config.get('model') or {}
    for part in filter(None, path.split('.')):
        if part in ('student', 'teacher') and isinstance(node, dict) and 'detector' in node:
            part = 'detector'  # both are built from it
        elif part == 'loss_module' and isinstance(node, dict) and 'loss' in node:
            part = 'loss'  # of mmpretrain's heads
        if part.isdigit():
            if isinstance(node, dict) and node:
                continue  # one config for all stages
            node = node[int(part)] if isinstance(node, (list, tuple)) and int(part) < len(node) else {}
        else:
            node = (node.get(part) if isinstance(node, dict) else None) or {}
        keys.append(part)
    return '.'.join(keys)


def compare_counts(numbers: Sequence[HeadNumber], datasets: Sequence[tuple[str, BaseDataset]]) -> Iterator[Problem]:
    """One problem for each number of classes or keypoints of the data that heads do not have.

    Args:
        numbers (Sequence[HeadNumber]): Those of the model.
        datasets (Sequence[tuple[str, BaseDataset]]): The datasets, each with the name of its split.
    """
    wrong: dict[tuple[str, int, str, bool], tuple[list[str], list[HeadNumber]]] = {}
    for name, dataset in datasets:
        for number in numbers:
            if not learns_from(number.toolbox, dataset):
                continue
            count, source = count_of(dataset, number)
            if count is None or number.number == count * number.factor:
                continue
            spare = number.toolbox == 'mmpretrain' and number.number > count
            if spare and source != 'names':
                continue
            what = CLASSES if number.what == THINGS and 'thing_classes' not in dataset.metainfo else number.what
            names, heads = wrong.setdefault((what, count, source, not spare), ([], []))
            names += [name] * (name not in names)
            heads += [number] * (number not in heads)
    for (what, count, source, fatal), (names, heads) in wrong.items():
        has = f'have {count} {what}' if source == 'names' else f'have the label {count - 1}, so {count} {what} or more'
        settings = ' '.join(dict.fromkeys(f'{head.key}={count * head.factor}' for head in heads if head.key))
        fixed = ', '.join(head.part for head in heads if not head.key)
        yield Problem(
            f'the {" and ".join(names)} data {has}, but '
            + ', '.join(dict.fromkeys(f'{head.part} has {head.number}' for head in heads))
            + (f' outputs, of which each keypoint takes {heads[0].factor}' if heads[0].factor > 1 else '')
            + (f': set {settings}' if settings else '') + (f' ({fixed} cannot be set)' if fixed else ''), fatal)


def learns_from(toolbox: str, dataset: BaseDataset) -> bool:
    """Whether heads of a toolbox learn from a dataset."""
    bases = ancestors(type(dataset))
    return any(name in bases for name in DATASETS[toolbox])


def count_of(dataset: BaseDataset, number: HeadNumber) -> tuple[int | None, str]:
    """How many of what a head counts a dataset has, None if it does not say; and 'names' or 'labels', what says so."""
    metainfo = dataset.metainfo
    if number.what == KEYPOINTS:
        converters = keypoint_converters(dataset)
        return (converters[-1].num_keypoints if converters else metainfo.get('num_keypoints')), 'names'
    if number.what == STUFF:
        return len(metainfo.get('stuff_classes', ())), 'names'
    classes = metainfo.get('thing_classes' if number.what == THINGS else 'classes') or metainfo.get('classes')
    if classes:
        return len(classes), 'names'
    if number.toolbox != 'mmpretrain':
        return None, ''
    labels = [label for info in BuiltSplit.annotations(dataset)
              for label in as_list(info.get('gt_label')) if isinstance(label, int)]
    return (max(labels) + 1 if labels else None), 'labels'


def keypoint_converters(dataset: BaseDataset) -> list:
    """The transforms of a pipeline of mmpose that number the keypoints anew."""
    return [transform for transform in dataset.pipeline.transforms
            if {'mmpose.KeypointConverter', 'mmpose.SingleHandConverter'} & ancestors(type(transform)).keys()]


def as_list(label: Any) -> list:
    """The labels of an image, which may have one or several."""
    label = label.tolist() if hasattr(label, 'tolist') else label
    return label if isinstance(label, list) else [label]


def compare_names(datasets: Sequence[tuple[str, BaseDataset]]) -> Iterator[Problem]:
    """Check that all datasets number their classes, or keypoints, alike.

    Args:
        datasets (Sequence[tuple[str, BaseDataset]]): The datasets, each with the name of its split.
    """
    known: dict[str, tuple[str, list[str]]] = {}
    for split, dataset in datasets:
        names = {CLASSES: list(dataset.metainfo.get('classes') or ()),
                 KEYPOINTS: list((dataset.metainfo.get('keypoint_id2name') or {}).values())}
        if keypoint_converters(dataset):
            names[KEYPOINTS] = []
        for what, here in names.items():
            other_split, there = known.setdefault(what, (split, here)) if here else (split, here)
            if here == there:
                continue
            moved = [name for name in there if name in here and here.index(name) != there.index(name)]
            fatal = bool(moved) or len(here) != len(there)
            lists = ' and '.join(', '.join(names[:SHOWN]) + (', ...' if len(names) > SHOWN else '')
                                 for names in (there, here))
            what_happens = f'{moved[0]} is number {there.index(moved[0])} and {here.index(moved[0])}' if moved else (
                f'{len(there)} and {len(here)}' if fatal else 'the numbers count, not the names')
            yield Problem(f'the {other_split} and {split} data have different {what}, {lists} ({what_happens}): give '
                          f'both the same metainfo, in the same order', fatal)
