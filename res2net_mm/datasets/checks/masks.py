"""Checks of the masks that a score depends on, before the first iteration."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Callable, Iterator

import numpy as np
from PIL import Image

from ...utils.config_types import ancestors
from ...utils.images import file_defect, image_shape
from ...utils.masks import size_defect
from .built import BuiltSplit
from .configs import is_missing
from .problems import Problem, list_defects
from .registry import inherits

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset


@dataclass(frozen=True)
class MaskLabels:
    """The labels that a semantic mask may have.

    Attributes:
        num_labels (int | None): They are less than this; None: any are allowed.
        ignore_index (int): The label that is allowed besides.
    """

    num_labels: int | None
    ignore_index: int = 255


def check_masks(split: BuiltSplit) -> Iterator[Problem]:
    """Check every mask of a validation or test set of segmentation: it is decoded, its size and its labels have to fit.

    Args:
        split (BuiltSplit): The set. A set to train on is left alone: its masks are checked when they are loaded.
    """
    if split.name == 'train':
        return
    defects: dict[str, str | None] = {}
    for dataset in split.datasets:
        mask_defect = mask_check(dataset)
        if mask_defect is None:
            continue
        for info in split.annotations(dataset):
            image, mask = str(info.get('img_path')), info.get('seg_map_path')
            if mask and mask not in defects and not is_missing(image) and not file_defect(image):
                defects[mask] = file_defect(mask) or mask_defect(mask, image)
    bad_masks = [f'{path} {defect}' for path, defect in defects.items() if defect]
    yield from list_defects(f'{len(bad_masks)} masks to evaluate on are bad:', bad_masks)


def mask_check(dataset: BaseDataset) -> Callable[[str, str], str | None] | None:
    """The check of a built dataset's mask files; None if the dataset reads no masks.

    Returns:
        Callable | None: It takes a mask file and an image file, and returns what is wrong with the mask, or None.
    """
    if hasattr(dataset, 'mask_defect'):
        return dataset.mask_defect  # masks of its own kind
    labels = mask_labels(dataset)
    return partial(mask_file_defect, labels=labels) if labels else None


def mask_labels(dataset: BaseDataset) -> MaskLabels | None:
    """The labels in the mask files of a built dataset of mmseg; None if the dataset reads none."""
    if 'mmseg.BaseSegDataset' not in ancestors(type(dataset)) or not any(
            map(reads_labels, dataset.pipeline.transforms)):
        return None
    classes = dataset.label_map or dataset.metainfo.get('classes')
    return MaskLabels(len(classes) + bool(dataset.reduce_zero_label) if classes else None, dataset.ignore_index)


def reads_labels(transform: Callable) -> bool:
    """Whether a transform reads mask files as the LoadAnnotations of mmseg and mmcv do."""
    bases = ancestors(type(transform))
    return inherits(type(transform), bases.get('mmseg.LoadAnnotations') or bases.get('mmcv.LoadAnnotations'),
                    '_load_seg_map')


def mask_file_defect(path: str, image: str, labels: MaskLabels) -> str | None:
    """What is wrong with a mask file for an image file, or None."""
    with Image.open(path) as mask:
        return label_defect(np.asarray(mask), image_shape(image), labels)


def label_defect(mask: np.ndarray, shape: tuple[int, int], labels: MaskLabels) -> str | None:
    """What is wrong with a mask of labels, or None.

    Args:
        mask (np.ndarray): The mask, (h, w) if it is a good one.
        shape (tuple[int, int]): Height and width of its image.
        labels (MaskLabels): What it may hold.
    """
    if mask.ndim != 2:
        return 'is a mask in colours; it must have one channel, of class numbers'
    defect = size_defect(mask, shape)
    if defect or not labels.num_labels:
        return defect
    wrong = (mask >= labels.num_labels) & (mask != labels.ignore_index)
    if wrong.any():
        return (f'is a mask with label {mask[wrong].min()}; allowed are 0 to {labels.num_labels - 1} and '
                f'{labels.ignore_index}')
    return None
