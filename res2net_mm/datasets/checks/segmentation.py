"""Checks of segmentation sets: the list of images, or their folder."""
from __future__ import annotations

import os
from typing import Iterator

from .lists import read_names
from .problems import Problem
from .registry import DatasetSettings, annotation_check


@annotation_check('mmseg.BaseSegDataset')
def check_segmentation_lists(settings: DatasetSettings) -> Iterator[Problem]:
    """Check that the list of a segmentation set, or its folder where it has no list, names images."""
    if settings.has_local_file:
        read_names(settings.ann_file)
    elif not settings.ann_file:
        folder = settings.folder('img_path')
        if os.path.isdir(folder) and not os.listdir(folder):
            yield Problem(f'{folder} has no images')
