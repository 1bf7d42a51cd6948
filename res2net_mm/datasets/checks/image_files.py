"""Checks of the images that annotations name, without reading them: odd names, and sizes that are filtered out."""
from __future__ import annotations

import os
import re
from typing import Iterator, Sequence

from .problems import Problem, list_defects
from .registry import DatasetSettings

ODD_NAME = re.compile(r'^\s|\s$|^/|^[A-Za-z]:|\\|://|(^|/)\.\.(/|$)|\0')


def check_file_names(settings: DatasetSettings, names: Sequence[str]) -> Iterator[Problem]:
    """Check file names that were made for another machine: absolute ones, addresses, ``..``, or backslashes.

    They are in order if there is such a file.

    Args:
        settings (DatasetSettings): The dataset; its images are in ``data_prefix``.
        names (Sequence[str]): The names in its annotation file.
    """
    folder = settings.folder('img')
    if '://' in folder:
        return
    odd = [name for name in names if ODD_NAME.search(name) and not is_there(folder, name)]
    yield from list_defects(
        f'{settings.ann_file}: {len(odd)} of {len(names)} file names do not name a file in {folder or "."}, the '
        f'folder that {settings.where}.data_prefix names; write them relative to it, with /:',
        [f'file_name {name!r:.120}' for name in odd])


def is_there(folder: str, name: str) -> bool:
    """Whether there is such a file, or may be one on another machine."""
    path = os.path.join(folder, name)
    return bool(re.match(r'^[a-z0-9+]+://', path)) or os.path.exists(path)


def check_filters(settings: DatasetSettings, images: Sequence[tuple[float, bool]]) -> Iterator[Problem]:
    """Check that the filter of a dataset of mmdet leaves images to train on.

    Args:
        settings (DatasetSettings): The dataset.
        images (Sequence[tuple[float, bool]]): The shorter side of each image in pixels, and whether it has objects.
    """
    filters = settings.config.get('filter_cfg')
    if settings.config.get('test_mode') or not isinstance(filters, dict):
        return
    smallest, key = filters.get('min_size', 0), f'{settings.where}.filter_cfg'
    if type(smallest) not in (int, float):
        yield Problem(f'{key}.min_size is {smallest!r:.60}; it must be a number of pixels')
        return
    sides = [side for side, has_objects in images if has_objects or not filters.get('filter_empty_gt', False)]
    if sides and max(sides) < smallest:
        yield Problem(f'{settings.ann_file}: {key} leaves none of the {len(images)} images: the shorter side of the '
                      f'largest has {max(sides)} pixels; set {key}.min_size={max(sides)} or less')
