"""Checks of what a config names, before anything is built: folders, files, and what its datasets need of them."""
from __future__ import annotations

import copy
import os
from typing import Any, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS

from ...utils.config_edits import unbuilt_items
from ...utils.config_types import ancestors, config_class
from .errors import BadDataError
from .formats import (
    CocoNeeds,
    check_coco,
    check_detections,
    check_image_folders,
    check_labels,
    check_xml,
    read_json,
    read_names,
)


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Check the folders and annotation files that a config of any toolbox names.

    Args:
        cfg (mmengine.Config): The config.
        splits (Sequence[str]): Of 'train', 'val' and 'test', those that the run will use.

    Raises:
        BadDataError: If a folder or file does not exist, or an annotation file is broken, empty or contradicts itself
            or the dataset that reads it.
    """
    missing = []
    for split in splits:
        missing += [f'{split}_dataloader: {path}' for dataset in dataset_configs(cfg, split)
                    for path in dataset_paths(dataset) if is_missing(path)]
        missing += [f'{split}_evaluator: {evaluator["ann_file"]}' for evaluator in evaluators(cfg, split)
                    if is_missing(evaluator.get('ann_file'))]
    if missing:
        raise BadDataError('data that the config names does not exist; give its folder with --data-root DIR, or put it '
                           'there:\n  ' + '\n  '.join(dict.fromkeys(missing)))

    for split in splits:
        scored = not any(evaluator.get('format_only') for evaluator in evaluators(cfg, split))
        for dataset in dataset_configs(cfg, split):
            filters = split == 'train' and dataset.get('filter_cfg') or {}
            check_annotations(dataset, cfg.get('default_scope'), scored and filters.get('filter_empty_gt', True))


def dataset_configs(cfg: Config, split: str) -> list[dict]:
    """The configs of the datasets of a split, 'train', 'val' or 'test', without wrappers; none if it has no loader."""
    loaders = cfg.get(f'{split}_dataloader') or []
    return [dataset for loader in ([loaders] if isinstance(loaders, dict) else loaders)
            for dataset in leaves(loader.get('dataset')) if isinstance(dataset, dict)]


def evaluators(cfg: Config, split: str) -> list[dict]:
    """The configs of the metrics of a split, 'val' or 'test'; none of 'train'."""
    configs = cfg.get(f'{split}_evaluator') or []
    return [configs] if isinstance(configs, dict) else configs


def leaves(dataset: Any) -> list:
    """The datasets inside of wrappers such as RepeatDataset and ConcatDataset.

    Args:
        dataset (dict | Dataset | None): A dataset or the config of one; None has none.

    Returns:
        list: Datasets, or configs of datasets, that wrap no other.
    """
    if dataset is None:
        return []
    get = dataset.get if isinstance(dataset, dict) else lambda name: getattr(dataset, name, None)
    inner = [item for item in get('datasets') or [get('dataset')] if item is not None and not isinstance(item, str)]
    return [leaf for item in inner for leaf in leaves(item)] if inner else [dataset]


def dataset_paths(dataset: dict) -> list[str]:
    """The folders and files that the config of a dataset, of no wrapper, names: a missing root alone."""
    root = dataset.get('data_root') or ''
    if root and is_missing(root):
        return [root]
    prefix = dataset.get('data_prefix') or {}
    parts = [dataset.get('ann_file'), *(prefix.values() if isinstance(prefix, dict) else [prefix])]
    paths = [os.path.join(root, part) for part in parts if isinstance(part, str) and part]
    return [*paths, dataset['bbox_file']] if dataset.get('bbox_file') else paths  # mmpose joins no root to this one


def is_missing(path: str | None) -> bool:
    """Whether a path is a local one that does not exist (``s3://...`` and the like are left to mmengine)."""
    return bool(path and ':' not in str(path) and not os.path.exists(path))


def check_annotations(dataset: dict, scope: str | None, labelled: bool) -> None:
    """Check the annotations that one dataset config names, as the class of the dataset reads them.

    Args:
        dataset (dict): The config, of no wrapper.
        scope (str | None): The toolbox that its type is looked up in.
        labelled (bool): Whether a set without any annotation is an error.

    Raises:
        BadDataError: If they are broken, empty or contradict themselves or the dataset.
    """
    name = dataset.get('ann_file') or ''
    path = os.path.join(dataset.get('data_root') or '', name) if name else ''
    local_file = os.path.isfile(path)
    if local_file and not os.path.getsize(path):
        raise BadDataError(f'{path} is empty')
    kind = config_class(dataset, DATASETS, scope)
    bases = ancestors(kind)
    coco = bases.get('mmdet.CocoDataset') or bases.get('mmpose.BaseCocoStyleDataset')
    classifier = bases.get('mmpretrain.CustomDataset')
    folders = bases.get('mmpretrain.ImageNet') or classifier  # both look for their images as check_image_folders does

    if local_file and inherits(kind, coco, 'load_data_list', '_load_annotations', 'parse_data_info'):
        check_coco_dataset(path, dataset, kind, labelled, keypoints='mmpose.BaseCocoStyleDataset' in bases)
    elif local_file and path.endswith('.json'):
        read_json(path)
    elif local_file and 'mmdet.XMLDataset' in bases:
        check_xml(path, dataset, class_names(dataset, kind), labelled)
    elif local_file and ('mmseg.BaseSegDataset' in bases or inherits(kind, classifier, 'load_data_list')):
        names = read_names(path)
        if classifier and dataset.get('with_label', True):
            check_labels(path, names, class_names(dataset, kind))
    elif not path and dataset.get('with_label', True) and inherits(
            kind, folders, '__init__', 'load_data_list', '_find_samples'):
        check_image_folders(dataset, class_names(dataset, kind))
    elif 'mmseg.BaseSegDataset' in bases:
        folder = os.path.join(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img_path') or '')
        if os.path.isdir(folder) and not os.listdir(folder):
            raise BadDataError(f'{folder} has no images')


def inherits(kind: type, base: type | None, *methods: str) -> bool:
    """Whether there is such a base, and a class that inherits from it has these methods of it unchanged."""
    return base is not None and all(getattr(kind, name, None) is getattr(base, name, None) for name in methods)


def check_coco_dataset(path: str, dataset: dict, kind: type, labelled: bool, keypoints: bool) -> None:
    """Check the file in COCO's format, and the file of detected boxes, of one dataset config.

    Args:
        path (str): The file.
        dataset (dict): The config.
        kind (type): The class of the dataset.
        labelled (bool): Whether a set without any annotation is an error.
        keypoints (bool): Whether the dataset is one of mmpose, else one of mmdet.

    Raises:
        BadDataError: If one of them is broken, empty or contradicts itself or the dataset.
    """
    metainfo = load_metainfo(dataset, kind)
    needs = CocoNeeds(labelled, classes=None if keypoints else metainfo['classes'],
                      keypoints=metainfo['num_keypoints'] if keypoints else None)
    try:
        images = check_coco(path, needs)
        if dataset.get('bbox_file'):
            check_detections(dataset['bbox_file'], images, path)
    except (AttributeError, KeyError, TypeError) as error:
        raise BadDataError(f'{path} is not in COCO\'s format: {type(error).__name__}: {error}') from error


def load_metainfo(dataset: dict, kind: type[Any]) -> dict[str, Any]:
    """The metainfo of a dataset of this config and class, as the class itself combines the two."""
    return kind._load_metainfo(copy.deepcopy(dataset.get('metainfo')))


def class_names(dataset: dict, kind: type) -> Sequence[str] | None:
    """The names of the classes of a dataset of this config and class; None if it has none."""
    return load_metainfo(dataset, kind).get('classes')


def skip_bad_samples(cfg: Config, strict: bool = False) -> None:
    """Put SkipBadSample around every loading transform of the training pipelines.

    Pipelines inside of wrappers of datasets and of hooks are training pipelines too.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        strict (bool): Stop at the first bad sample instead. Defaults to False.
    """

    def guard(value: Any, options: dict) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(guard(item, options) for item in value)
        if not isinstance(value, dict):
            return value
        bases = ancestors(config_class(value, TRANSFORMS, scope)) if 'type' in value else {}
        if 'res2net_mm.SkipBadSample' in bases:  # this is the config that an earlier run wrote into its work directory
            return type(value)(value, strict=strict)
        if any(name.partition('.')[2].startswith('Load') for name in bases):  # what every toolbox calls them
            return type(value)(type='res2net_mm.SkipBadSample', transform=value, **options)
        if 'pipeline' in value and 'type' in value:
            options = {**options, **segmentation_labels(value, scope)}
        return type(value)({key: guard(item, options) for key, item in unbuilt_items(value)})

    scope = cfg.get('default_scope')
    if cfg.get('train_dataloader'):
        cfg.train_dataloader = guard(cfg.train_dataloader, dict(strict=strict))
    if cfg.get('custom_hooks'):  # mmdet's PipelineSwitchHook brings a second pipeline
        cfg.custom_hooks = guard(cfg.custom_hooks, dict(strict=strict))


def segmentation_labels(dataset: dict, scope: str | None) -> dict[str, int | None]:
    """The labels that loaded masks of a dataset of mmseg may have, as arguments of SkipBadSample.

    Args:
        dataset (dict): The config of any dataset.
        scope (str | None): The toolbox that its type is looked up in.

    Returns:
        dict: ``num_classes`` and ``ignore_index``; nothing for a dataset of another toolbox.
    """
    kind = config_class(dataset, DATASETS, scope)
    if 'mmseg.BaseSegDataset' not in ancestors(kind):
        return {}
    classes = class_names(dataset, kind)
    return dict(num_classes=classes and len(classes), ignore_index=dataset.get('ignore_index', 255))
