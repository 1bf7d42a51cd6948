"""Images that a run is trained on and evaluated on: its scores would not tell what the model does with new ones."""
from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Iterator, Sequence

from .built import BuiltSplit
from .problems import Problem, list_defects

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset


def check_overlap(splits: Sequence[BuiltSplit]) -> Iterator[Problem]:
    """Compare the images of each split with those to train on; what they share is a warning.

    Images are the same if their resolved paths are; what is in the files is not compared. Sets that are small on
    purpose, such as those of configs/overfit, share all.

    Args:
        splits (Sequence[BuiltSplit]): The splits.
    """
    for train in splits:
        for other in splits:
            if train.name == 'train' != other.name:
                yield from compare_splits(train, other)


def compare_splits(train: BuiltSplit, other: BuiltSplit) -> Iterator[Problem]:
    """Compare the images of a split with those to train on."""
    # The set to train on is the larger one: it is gone through, and not kept.
    evaluated = {resolve(path): path for dataset in other.datasets for path in image_paths(other, dataset)}
    if not evaluated:
        files = [{resolve(dataset.ann_file): dataset.ann_file for dataset in split.datasets
                  if getattr(dataset, 'ann_file', None)} for split in (train, other)]
        for key in files[0].keys() & files[1].keys():
            yield Problem(f'train and {other.name} both read {files[1][key]}, which has no paths of images: see that '
                          'none is trained and tested on', fatal=False)
    shared: dict[str, str] = {}
    sources: list[str] = []  # of the datasets to train on that have some of these images
    for dataset in train.datasets:
        found = {key: path for path in image_paths(train, dataset) if (key := resolve(path)) in evaluated}
        shared.update(found)
        sources += [source(dataset)] if found else []
    where = ' and '.join(dict.fromkeys(sources)), ' and '.join(dict.fromkeys(map(source, other.datasets)))
    read = f'train and {other.name} read {where[0]}' if where[0] == where[1] else (
        f'train reads {where[0]}, {other.name} reads {where[1]}')
    yield from list_defects(
        f'{len(shared)} of {len(evaluated)} images of {other.name} are trained on, too ({read}); scores on them do not '
        'tell what the model does with new images:',
        [evaluated[key] if evaluated[key] == path else f'{evaluated[key]} is {path}' for key, path in shared.items()],
        fatal=False)


def image_paths(split: BuiltSplit, dataset: BaseDataset) -> Iterator[str]:
    """The paths of the images of a dataset; none if it has no files of them."""
    return (info['img_path'] for info in split.annotations(dataset) if isinstance(info.get('img_path'), str))


def resolve(path: str) -> str:
    """The path of a file without links; of ``s3://...`` and the like, one that is as good for comparing."""
    folder, name = os.path.split(path)
    path = os.path.join(resolve_folder(folder), name)
    return os.path.realpath(path) if os.path.islink(path) else path


@lru_cache(maxsize=1024)
def resolve_folder(folder: str) -> str:
    """The path of a folder without links: to ask for each of its images again takes most of the time."""
    return os.path.realpath(folder)


def source(dataset: BaseDataset) -> str:
    """What a dataset reads: its annotation file, or the folder of its images."""
    prefix = getattr(dataset, 'data_prefix', None) or {}
    folders = [folder for folder in prefix.values() if folder] if isinstance(prefix, dict) else [prefix]
    return str(getattr(dataset, 'ann_file', None) or next(iter(folders), None) or getattr(dataset, 'data_root', ''))
