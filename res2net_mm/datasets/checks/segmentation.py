"""Checks of segmentation sets: the list of images, or their folder, and the names of their classes."""
from __future__ import annotations

import os
from typing import Iterator

from .class_names import list_unknown
from .lists import doubled, read_names
from .problems import Problem, list_defects
from .registry import DatasetSettings, annotation_check


@annotation_check('mmseg.BaseSegDataset')
def check_segmentation_lists(settings: DatasetSettings) -> Iterator[Problem]:
    """Check that the list of a segmentation set, or its folder where it has no list, names images."""
    known = (getattr(settings.kind, 'METAINFO', None) or {}).get('classes')
    if known and settings.classes:
        yield from list_unknown(f'{settings.where}.metainfo.classes has names that {settings.kind.__name__} does not '
                                'know; mmseg takes a part of its classes, and no other:',
                                [name for name in settings.classes if name not in known], known)
    if settings.has_local_file:
        yield from list_defects(f'{settings.ann_file}: images that are listed more than once:',
                                doubled(read_names(settings.ann_file)), fatal=False)
    elif not settings.ann_file:
        folder = settings.folder('img_path')
        if os.path.isdir(folder) and not os.listdir(folder):
            yield Problem(f'{folder} has no images')
