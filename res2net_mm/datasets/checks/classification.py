"""Checks of classification sets: lists of images with a label each, and folders of images for every class."""
from __future__ import annotations

import os
from typing import Iterator, Sequence

from ...utils.config_types import ancestors
from .lists import doubled, read_names
from .problems import SHOWN, Problem, list_defects
from .registry import DatasetSettings, annotation_check, inherits

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # what mmpretrain takes from a folder


@annotation_check('mmpretrain.CustomDataset', read_by=('load_data_list', '_find_samples'))
def check_classification(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the list of a classification set, or its folders where it has no list."""
    bases = ancestors(settings.kind)
    labelled = settings.config.get('with_label', True)
    if settings.ann_file:
        if settings.has_local_file:
            lines = read_names(settings.ann_file)
            if labelled:
                yield from check_labels(settings.ann_file, lines, settings.classes)
    elif labelled and inherits(settings.kind, bases.get('mmpretrain.ImageNet') or bases['mmpretrain.CustomDataset'],
                               '__init__'):
        yield from check_image_folders(settings.config, settings.classes)


def check_labels(path: str, lines: Sequence[str], classes: Sequence[str] | None) -> Iterator[Problem]:
    """Check the lines ``image label`` of a classification set.

    Args:
        path (str): The file of the lines.
        lines (Sequence[str]): The lines.
        classes (Sequence[str] | None): Names of the classes; None: any label is allowed.
    """
    defects = []
    for number, line in enumerate(lines, 1):
        name, _, label = line.rpartition(' ')
        if not name.strip() or not label.isascii() or not label.isdigit() or (
                classes is not None and int(label) >= len(classes)):
            defects.append(f'line {number}: {line}')
    allowed = f'from 0 to {len(classes) - 1}' if classes is not None else 'of 0 or more'
    yield from list_defects(f'{path}: lines that are not an image, a blank, and a label {allowed}:', defects)
    names = [line.rpartition(' ')[0] for line in lines]
    yield from list_defects(f'{path}: images that are listed more than once:', doubled(names), fatal=False)


def check_image_folders(dataset: dict, classes: Sequence[str] | None) -> Iterator[Problem]:
    """Check a classification set of a folder of images for every class.

    ImageNet's may have a list, which is checked instead.

    Args:
        dataset (dict): The config of the dataset.
        classes (Sequence[str] | None): Names of its classes; None: there are as many as folders.
    """
    root, split = dataset.get('data_root') or '', dataset.get('split') or ''
    listed = os.path.join(root, 'meta', f'{split}.txt')
    if split and os.path.isfile(listed):
        yield from check_labels(listed, read_names(listed), classes)
        return
    prefix = dataset.get('data_prefix') or split
    folder = os.path.join(root, (prefix.get('img_path') or '') if isinstance(prefix, dict) else prefix)
    if not os.path.isdir(folder):
        yield Problem(f'{folder} does not exist')
        return
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not names:
        yield Problem(f'{folder} is empty: it must have a folder of images for every class')
    elif classes is not None and len(names) != len(classes):
        yield Problem(f'{folder} has {len(names)} folders, {", ".join(names[:SHOWN])}, ...; the dataset has '
                      f'{len(classes)} classes, and needs a folder for each')
    elif not any(file.lower().endswith(IMAGE_SUFFIXES) for name in names
                 for _, _, files in os.walk(os.path.join(folder, name)) for file in files):
        yield Problem(f'{folder} has no image ({", ".join(IMAGE_SUFFIXES)}) in any of its {len(names)} folders')
