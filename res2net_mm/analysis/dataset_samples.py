"""Samples of a built dataset with their annotations, after its own loading transforms and no others."""
from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from ..datasets.checks.built import with_wrapped
from ..datasets.checks.configs import leaves
from ..utils.config_types import ancestors, argument_names, config_class
from ..utils.masks import read_mask

if TYPE_CHECKING:
    from torch.utils.data import DataLoader


Transform = Callable[[dict], Any]


@dataclass(frozen=True)
class ImageSample:
    """One image of a dataset.

    Attributes:
        dataset (BaseDataset): The dataset.
        transforms (Sequence[Callable]): What loads its images and annotations.
        name (str): The path of the image; its number if it has none.
        indices (list[int]): Its entries in the dataset: several if every person of an image is one.
        classes (frozenset[int] | None): The classes in it; None: not known.
    """

    dataset: BaseDataset
    transforms: Sequence[Transform]
    name: str
    indices: list[int]
    classes: frozenset[int] | None

    @property
    def is_file(self) -> bool:
        """Whether it is a file of its own."""
        return self.name != f'#{self.indices[0]}'


def build_dataset(config: dict) -> tuple[BaseDataset, int | None]:
    """Build the dataset of a config, of no wrapper, in the default scope.

    Args:
        config (dict): Its config.

    Returns:
        tuple[BaseDataset, int | None]: The dataset, and how many entries its filters have dropped; None: not known.
    """
    kind = config_class(config, DATASETS, None)
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


def build_loader(config: dict | list, datasets: Sequence[BaseDataset]) -> DataLoader | None:
    """Build a data loader around datasets that are built.

    Args:
        config (dict | list): Its config, or those of several.
        datasets (Sequence[BaseDataset]): Its datasets without wrappers, in their order.

    Returns:
        DataLoader | None: The loader; None for a list of several.
    """
    from mmengine.runner import Runner
    if isinstance(config, list):
        return None
    left = iter(datasets)

    def with_built(part: dict) -> dict:
        key = next((key for key in ('datasets', 'dataset') if part.get(key) and not isinstance(part[key], str)), None)
        if key is None:
            return built_already(next(left))
        inner = part[key]
        return dict(part, **{key: with_built(inner) if isinstance(inner, dict) else [*map(with_built, inner)]})

    return Runner.build_dataloader(dict(config, dataset=with_built(config['dataset'])), seed=0)


def built_already(dataset: BaseDataset) -> dict:
    """A config of a dataset that is built: some wrappers take nothing but configs, and Runner copies what is none."""
    return dict(type=lambda: dataset)


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


def load_sample(sample: ImageSample, index: int) -> dict[str, Any]:
    """An entry of a dataset after its loading transforms: ``img`` and its annotations, as the toolbox holds them.

    Args:
        sample (ImageSample): An image.
        index (int): One of its entries.

    Raises:
        ValueError: If a transform refuses the entry; a toolbox raises others.
    """
    loaded = BaseDataset.get_data_info(sample.dataset, index)
    for transform in sample.transforms:
        loaded = transform(loaded)
        if loaded is None:
            raise ValueError(f'is refused by the transform {type(transform).__name__}')
    if 'gt_seg_map' not in loaded and loaded.get('seg_map_path'):
        loaded['gt_seg_map'] = unloaded_mask(sample.dataset, loaded)
    return loaded


def load_labels(sample: ImageSample) -> np.ndarray | None:
    """The labels of the semantic mask of an image, which is not loaded itself.

    Returns:
        np.ndarray | None: (h, w) after label maps and the like; None if the pipeline loads no mask.
    """
    info = BaseDataset.get_data_info(sample.dataset, sample.indices[0])
    for transform in sample.transforms:
        if not any(name.partition('.')[2].startswith('LoadImage') for name in ancestors(type(transform))):
            info = transform(info)
    labels = info.get('gt_seg_map')
    return unloaded_mask(sample.dataset, info) if labels is None else labels


def unloaded_mask(dataset: BaseDataset, info: dict[str, Any]) -> np.ndarray | None:
    """The mask that a metric reads instead of the pipeline, as in tests of salient objects; None if there is none."""
    is_saliency = 'res2net_mm.SaliencyDataset' in ancestors(type(dataset))
    return read_mask(info['seg_map_path']) if is_saliency else None


def loading_transforms(dataset: BaseDataset, wrapper: Any = None) -> list[Transform]:
    """The transforms that load something, as every toolbox calls them: ``Load...``.

    Args:
        dataset (BaseDataset): A dataset of no wrapper.
        wrapper (Dataset | None): What it stands in: mmpose's CombinedDataset loads images itself. Defaults to None.
    """
    wrappers = [item for item in with_wrapped(wrapper) if leaves(item) != [item]]
    pipelines = [getattr(item, 'pipeline', None) for item in [dataset, *wrappers]]
    return [transform for pipeline in pipelines for transform in getattr(pipeline, 'transforms', []) if any(
        name.partition('.')[2].startswith('Load') or name == 'res2net_mm.SkipBadSample'
        for name in ancestors(type(transform)))]
