"""Checks of the images and masks that a score depends on, before the first iteration."""
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Callable

import numpy as np
from PIL import Image

from ...utils.config_types import ancestors
from ...utils.images import file_defect, image_shape
from ...utils.masks import size_defect
from .configs import inherits, is_missing, leaves
from .errors import refuse_defects

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset
    from mmengine.runner import BaseLoop


@dataclass(frozen=True)
class MaskLabels:
    """The labels that a semantic mask may have.

    Attributes:
        num_labels (int | None): They are less than this; None: any are allowed.
        ignore_index (int): The label that is allowed besides.
    """

    num_labels: int | None
    ignore_index: int = 255


def check_images(loop: BaseLoop | None) -> None:
    """Check every image of a validation or test set, and every mask of a segmentation set.

    An image is read at its two ends only. A mask is decoded: its size and its labels have to fit.

    Args:
        loop (mmengine.runner.BaseLoop | None): The loop that will go over the set.

    Raises:
        BadDataError: If one is missing, cut off or does not fit.
    """
    from mmengine.dataset import BaseDataset
    defects: dict[str, str | None] = {}
    for dataset in leaves(getattr(getattr(loop, 'dataloader', None), 'dataset', None)):
        if not isinstance(dataset, BaseDataset):
            continue
        mask_defect = mask_check(dataset)
        for index in range(len(dataset)):
            # mmpose's own get_data_info copies the metainfo for each of 100,000 detections, and counts them as loaded.
            info = BaseDataset.get_data_info(dataset, index)
            image, mask = info.get('img_path'), info.get('seg_map_path')
            if isinstance(image, str) and image not in defects:
                defects[image] = file_defect(image)
            if mask_defect and mask and not is_missing(image) and not defects.get(image):
                defects[mask] = file_defect(mask) or mask_defect(mask, image)
    bad_files = [f'{path} {defect}' for path, defect in defects.items() if defect]
    refuse_defects(f'{len(bad_files)} images or masks to evaluate on are bad:', bad_files)


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
