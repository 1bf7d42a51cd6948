"""Samples of a built dataset with their annotations, after its own loading transforms and no others."""
from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope

from ..utils.config_types import ancestors, argument_names, config_class
from ..utils.masks import read_mask


@dataclass(frozen=True)
class ImageSample:
    """One image of a dataset.

    Attributes:
        dataset (BaseDataset): The dataset.
        name (str): The path of the image; its number if it has none.
        indices (list[int]): Its entries in the dataset: several if every person of an image is one.
        classes (frozenset[int] | None): The classes in it; None: not known.
    """

    dataset: BaseDataset
    name: str
    indices: list[int]
    classes: frozenset[int] | None


def build_dataset(config: dict) -> tuple[BaseDataset, int | None]:
    """Build the dataset of a config, of no wrapper, in the default scope.

    Args:
        config (dict): Its config.

    Returns:
        tuple[BaseDataset, int | None]: The dataset, and how many entries its filters have dropped; None: not known.
    """
    scope = DefaultScope.get_current_instance()
    kind = config_class(config, DATASETS, scope.scope_name if scope else None)
    if not (issubclass(kind, BaseDataset) and 'lazy_init' in argument_names(kind)):
        return DATASETS.build(config), None
    dataset = DATASETS.build({**config, 'lazy_init': True})
    listed: list[int] = []
    filter_data = dataset.filter_data

    def count_and_filter() -> list[dict]:
        listed.append(len(dataset.data_list))
        return filter_data()

    dataset.filter_data = count_and_filter
    dataset.full_init()
    del dataset.filter_data
    return dataset, listed[0] - len(dataset) if listed and dataset._indices is None else None


def choose_samples(samples: Sequence[ImageSample], count: int = 16) -> list[ImageSample]:
    """Choose images that show different classes, always the same ones; the last has no annotation if there is such.

    Args:
        samples (Sequence[ImageSample]): The images.
        count (int): So many, or all if there are fewer. Defaults to 16.
    """
    known = [sample for sample in samples if sample.classes is not None] or list(samples)
    random.Random(0).shuffle(known)
    empty = [sample for sample in known if not sample.classes]
    annotated = [sample for sample in known if sample.classes]
    if len(annotated) < count:
        return annotated + empty[:count - len(annotated)]
    by_class: dict[int, list[ImageSample]] = {}
    for sample in annotated:
        for label in sorted(sample.classes or ()):
            by_class.setdefault(label, []).append(sample)
    shown: Counter[int] = Counter()
    chosen: list[ImageSample] = []
    while len(chosen) < count - bool(empty):
        # The class that was shown least, and of its images one that is not chosen; of two the rarer class comes first.
        left = {label: images for label, images in by_class.items() if images}
        label = min(left, key=lambda label: (shown[label], len(left[label]), label))
        sample = left[label].pop(0)
        if not any(sample is other for other in chosen):
            chosen.append(sample)
            shown.update(sample.classes or ())
    return chosen + empty[:1]


def load_sample(dataset: BaseDataset, index: int) -> dict[str, Any] | None:
    """An entry of a dataset after its loading transforms: ``img`` and its annotations, as the toolbox holds them.

    Args:
        dataset (BaseDataset): The dataset.
        index (int): The entry.

    Returns:
        dict | None: What the transforms return; None if they refuse the sample.
    """
    sample: dict[str, Any] | None = BaseDataset.get_data_info(dataset, index)
    for transform in loading_transforms(dataset):
        sample = transform(sample) if sample is not None else None
    if sample is not None and 'gt_seg_map' not in sample and sample.get('seg_map_path'):
        sample['gt_seg_map'] = unloaded_mask(dataset, sample)
    return sample


def load_labels(dataset: BaseDataset, info: dict[str, Any]) -> np.ndarray | None:
    """The labels of a semantic mask, without its image.

    Args:
        dataset (BaseDataset): The dataset.
        info (dict): An entry of it, which is changed.

    Returns:
        np.ndarray | None: (h, w) after label maps and the like; None if the pipeline loads no mask.
    """
    for transform in loading_transforms(dataset):
        if not any(name.partition('.')[2].startswith('LoadImage') for name in ancestors(type(transform))):
            info = transform(info)
    labels = info.get('gt_seg_map')
    return unloaded_mask(dataset, info) if labels is None else labels


def unloaded_mask(dataset: BaseDataset, info: dict[str, Any]) -> np.ndarray | None:
    """The mask that a metric reads instead of the pipeline, as in tests of salient objects; None if there is none."""
    is_saliency = 'res2net_mm.SaliencyDataset' in ancestors(type(dataset))
    return read_mask(info['seg_map_path']) if is_saliency else None


def loading_transforms(dataset: BaseDataset) -> list[Callable[[dict], dict | None]]:
    """The transforms of a dataset's pipeline that load something: every toolbox calls them ``Load...``."""
    return [transform for transform in dataset.pipeline.transforms if any(
        name.partition('.')[2].startswith('Load') or name == 'res2net_mm.SkipBadSample'
        for name in ancestors(type(transform)))]
