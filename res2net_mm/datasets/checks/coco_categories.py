"""Checks of the categories of a file in COCO's format against the classes that mmdet makes of them."""
from __future__ import annotations

from collections import Counter
from typing import Iterator, Sequence

from .class_names import list_unknown, plain
from .coco_file import CocoFile
from .problems import Problem, list_defects


def check_categories(file: CocoFile, classes: Sequence[str], key: str) -> Iterator[Problem]:
    """Check that every class of a dataset is one category of the file, in the same order.

    mmdet looks the classes up by name and numbers the categories that it finds, in the order of the file.

    Args:
        file (CocoFile): The file.
        classes (Sequence[str]): Names of the classes.
        key (str): The config key of the dataset.
    """
    names = [name for _, name in file.categories]
    missing = [name for name in classes if name not in names]
    yield from list_unknown(
        f'{file.path}: {len(missing)} of the {len(classes)} classes of the dataset are not in its categories '
        f'{names[:20]}; name yours with metainfo=dict(classes=(...)) in {key}. Missing are:', missing, names)
    yield from check_doubled_names(file, classes)
    yield from check_twins(file, classes)
    found = [name for name in dict.fromkeys(names) if name in classes]
    if not missing and found != list(classes):
        first = next(pair for pair in zip(classes, found) if pair[0] != pair[1])
        order = f'({", ".join(map(repr, found))})' if len(found) <= 20 else 'in that order'
        yield Problem(f'{file.path} has its categories in another order than the classes of the dataset, and mmdet '
                      f'numbers them as the file does: objects of {first[1]!r} would be named {first[0]!r}. Write '
                      f'metainfo=dict(classes={order}) in {key}')


def check_doubled_names(file: CocoFile, classes: Sequence[str]) -> Iterator[Problem]:
    """Check that no class is several categories, such as the root category that some programs write."""
    by_name: dict[str, list] = {}
    for category_id, name in file.categories:
        by_name.setdefault(name, []).append(category_id)
    several = {name: ids for name, ids in by_name.items() if name in classes and len(set(ids)) > 1}
    if several:
        counts = Counter(annotation['category_id'] for annotation in file.annotations or [])
        yield from list_defects(
            f'{file.path}: classes that are several categories, which mmdet takes for as many classes, so that their '
            'objects get the label of another class or of the background; give their objects one id, and remove the '
            'other categories:',
            [f'{name!r} is {", ".join(f"id {key} ({counts[key]} objects)" for key in ids)}'
             for name, ids in several.items()])


def check_twins(file: CocoFile, classes: Sequence[str]) -> Iterator[Problem]:
    """Check that no category is left out because its name is written in another way than a class."""
    used = {annotation['category_id'] for annotation in file.annotations or []}
    wanted = {plain(name): name for name in classes}
    present = {name for _, name in file.categories}
    yield from list_defects(
        f'{file.path}: categories whose names differ from a class only by how they are written, and whose objects '
        'would be background; rename them:',
        [f'{name!r} (id {key}) is left out, {wanted[plain(name)]!r} is a class' for key, name in file.categories
         if name not in classes and wanted.get(plain(name)) in present and key in used])
