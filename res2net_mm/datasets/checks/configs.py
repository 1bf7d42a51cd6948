"""Checks of what a config names, before anything is built: folders, files, and what its datasets need of them."""
from __future__ import annotations

import os
from typing import Any, Iterator, Sequence

from mmengine.config import Config
from mmengine.registry import METRICS

from ...utils.config_types import ancestors, config_class
from .class_names import check_class_names
from .lists import read_json, reading_once
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
    datasets = [settings for split in splits for settings in dataset_settings(cfg, split)]
    datasets.sort(key=lambda settings: settings.ann_file)  # so that a file of several datasets is read once
    with reading_once():
        report(problem for settings in datasets for problem in check_annotations(settings))


def find_missing(cfg: Config, splits: Sequence[str]) -> Iterator[Problem]:
    """The folders and files that a config names and that do not exist, as one problem."""
    missing: list[tuple[str, str]] = []
    for split in splits:
        missing += [(f'{split}_dataloader', path) for dataset in dataset_configs(cfg, split)
                    for path in dataset_paths(dataset) if is_missing(path)]
        missing += [(f'{split}_evaluator', evaluator['ann_file']) for evaluator in evaluators(cfg, split)
                    if is_missing(evaluator.get('ann_file'))]
    if missing:
        root = (cfg.get('data_root') or '').rstrip('/')
        others = root and not all(f'{path}/'.startswith(f'{root}/') for _, path in missing)
        yield Problem('data that the config names does not exist; give its folder with --data-root DIR, or put it '
                      'there:\n  ' + '\n  '.join(dict.fromkeys(f'{key}: {path}' for key, path in missing))
                      + (f"\n--data-root replaces the data_root at the top of the config, here '{root}/', and what "
                         'lies below it; other paths need data_root=data_root in their dataset, or --cfg-options'
                         if others else ''))


def dataset_settings(cfg: Config, split: str) -> Iterator[DatasetSettings]:
    """What a config says of each dataset of a split, 'train', 'val' or 'test', without wrappers."""
    scope, metrics = cfg.get('default_scope'), tuple(evaluators(cfg, split))
    scored = not metrics or any(is_scored(evaluator, scope) for evaluator in metrics)
    loaders = cfg.get(f'{split}_dataloader') or []
    for number, loader in enumerate([loaders] if isinstance(loaders, dict) else loaders):
        key = f'{split}_dataloader.dataset' if isinstance(loaders, dict) else f'{split}_dataloader.{number}.dataset'
        for where, dataset in named_leaves(loader.get('dataset'), key):
            if isinstance(dataset, dict):
                filters = split == 'train' and dataset.get('filter_cfg') or {}
                yield DatasetSettings(dataset, split, scope, scored and filters.get('filter_empty_gt', True), where,
                                      metrics)


def is_scored(evaluator: dict, scope: str | None) -> bool:
    """Whether a metric compares predictions with annotations, and does not only write them to a file."""
    return not evaluator.get('format_only') and 'mmengine.DumpResults' not in ancestors(
        config_class(evaluator, METRICS, scope))


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
    return [leaf for _, leaf in named_leaves(dataset, '')]


def named_leaves(dataset: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The datasets inside of wrappers as ``leaves`` gives them, each with the key that it stands under.

    Args:
        dataset (dict | Dataset | None): A dataset or the config of one; None has none.
        key (str): The key of the dataset in its config.
    """
    if dataset is None:
        return
    get = dataset.get if isinstance(dataset, dict) else lambda name: getattr(dataset, name, None)
    several = get('datasets')
    items = [(f'{key}.datasets.{number}', item) for number, item in enumerate(several)] if several else [
        (f'{key}.dataset', get('dataset'))]
    inner = [(name, item) for name, item in items if item is not None and not isinstance(item, str)]
    for name, item in inner:
        yield from named_leaves(item, name)
    if not inner:
        yield key, dataset


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
    problems = list(check_class_names(settings))
    if any(problem.fatal for problem in problems):
        return problems
    check = find_annotation_check(settings.kind)
    try:
        if check is None and settings.has_local_file and path.endswith('.json'):
            read_json(path)
        for problem in check(settings) if check else ():
            problems.append(problem)
    except BadDataError as error:
        problems.append(Problem(str(error)))
    return problems


def transforms_without_annotations(cfg: Config) -> list[dict]:
    """Configs of the transforms of the test dataset, without those that need annotations."""
    return [step for step in leaves(cfg.test_dataloader.dataset)[0].pipeline if 'Annotations' not in step['type']]
