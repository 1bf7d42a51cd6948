"""Checks of what a config names, before anything is built: folders, files, and what its datasets need of them."""
from __future__ import annotations

import os
from typing import Any, Iterator, Sequence

from mmengine.config import Config

from .lists import read_json
from .problems import BadDataError, Problem, report
from .registry import DatasetSettings, find_annotation_check


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Check the folders and annotation files that a config of any toolbox names, and log what is no error.

    Args:
        cfg (mmengine.Config): The config.
        splits (Sequence[str]): Of 'train', 'val' and 'test', those that the run will use.

    Raises:
        BadDataError: If a folder or file does not exist, or an annotation file is broken, empty or contradicts itself
            or the dataset that reads it.
    """
    report(find_missing(cfg, splits))
    report(problem for split in splits for settings in dataset_settings(cfg, split)
           for problem in check_annotations(settings))


def find_missing(cfg: Config, splits: Sequence[str]) -> Iterator[Problem]:
    """The folders and files that a config names and that do not exist, as one problem."""
    missing = []
    for split in splits:
        missing += [f'{split}_dataloader: {path}' for dataset in dataset_configs(cfg, split)
                    for path in dataset_paths(dataset) if is_missing(path)]
        missing += [f'{split}_evaluator: {evaluator["ann_file"]}' for evaluator in evaluators(cfg, split)
                    if is_missing(evaluator.get('ann_file'))]
    if missing:
        yield Problem('data that the config names does not exist; give its folder with --data-root DIR, or put it '
                      'there:\n  ' + '\n  '.join(dict.fromkeys(missing)))


def dataset_settings(cfg: Config, split: str) -> Iterator[DatasetSettings]:
    """What a config says of each dataset of a split, 'train', 'val' or 'test', without wrappers."""
    scored = not any(evaluator.get('format_only') for evaluator in evaluators(cfg, split))
    for dataset in dataset_configs(cfg, split):
        filters = split == 'train' and dataset.get('filter_cfg') or {}
        yield DatasetSettings(dataset, split, cfg.get('default_scope'),
                              labelled=scored and filters.get('filter_empty_gt', True))


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


def check_annotations(settings: DatasetSettings) -> list[Problem]:
    """Check the annotations that one dataset config names, as the class of the dataset reads them."""
    path = settings.ann_file
    if settings.has_local_file and not os.path.getsize(path):
        return [Problem(f'{path} is empty')]
    check = find_annotation_check(settings.kind)
    try:
        if check is None and settings.has_local_file and path.endswith('.json'):
            read_json(path)
        return list(check(settings)) if check else []
    except BadDataError as error:
        return [Problem(str(error))]
