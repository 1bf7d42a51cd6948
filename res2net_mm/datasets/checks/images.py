"""Checks of image files, before the first iteration."""
from __future__ import annotations

from typing import Iterator

from ...utils.images import file_defect
from .built import BuiltSplit
from .problems import Problem, list_defects


def check_images(split: BuiltSplit) -> Iterator[Problem]:
    """Check every image of a validation or test set. It is read at its two ends only.

    Args:
        split (BuiltSplit): The set. A set to train on is left alone: its images are checked when they are loaded.
    """
    if split.name == 'train':
        return
    defects: dict[str, str | None] = {}
    for dataset in split.datasets:
        for info in split.annotations(dataset):
            image = info.get('img_path')
            if isinstance(image, str) and image not in defects:
                defects[image] = file_defect(image)
    bad_images = [f'{path} {defect}' for path, defect in defects.items() if defect]
    yield from list_defects(f'{len(bad_images)} images to evaluate on are bad:', bad_images)
