"""Which check reads the annotations of a dataset: found by its class and what that inherits from.

A dataset of your own that inherits from a known one is checked as that is, unless it reads its annotations in a way of
its own. Give it a check of its own, in a module that ``custom_imports`` of the config names::

    @annotation_check(MyDataset)
    def check_my_dataset(settings):
        if not os.path.getsize(settings.ann_file):
            yield Problem(f'{settings.ann_file} is empty')
"""
from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, Iterable, Sequence

from mmengine.registry import DATASETS

from ...utils.config_types import ancestors, config_class
from .problems import Problem


@dataclass(frozen=True)
class DatasetSettings:
    """What a config says of one dataset, of no wrapper.

    Attributes:
        config (dict): The config of the dataset.
        split (str): 'train', 'val' or 'test'.
        scope (str | None): The toolbox that its types are looked up in.
        labelled (bool): Whether a set without any annotation is an error.
        where (str): The key of the config that the dataset stands under. Defaults to 'train_dataloader.dataset' or the
            like of its split.
        evaluators (tuple[dict, ...]): The configs of the metrics of its split. Defaults to none.
    """

    config: dict
    split: str
    scope: str | None
    labelled: bool
    where: str = ''
    evaluators: tuple[dict, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'where', self.where or f'{self.split}_dataloader.dataset')

    @cached_property
    def kind(self) -> type[Any]:
        """The class of the dataset; ``object`` if there is none of that name."""
        return config_class(self.config, DATASETS, self.scope)

    @property
    def root(self) -> str:
        """The ``data_root``; '' for none."""
        return self.config.get('data_root') or ''

    @property
    def ann_file(self) -> str:
        """The path of the annotation file; '' for none."""
        name = self.config.get('ann_file')
        return os.path.join(self.root, name) if isinstance(name, str) and name else ''

    @property
    def has_local_file(self) -> bool:
        """Whether there is an annotation file on this machine."""
        return os.path.isfile(self.ann_file)

    @cached_property
    def metainfo(self) -> dict[str, Any]:
        """The metainfo of the dataset, as its class combines its own with that of the config."""
        metainfo = copy.deepcopy(self.config.get('metainfo'))
        names = self.config.get('classes')
        if names is not None and 'mmpretrain.BaseDataset' in ancestors(self.kind):  # it has an argument of that name
            metainfo = {'classes': names, **(metainfo or {})}
        return self.kind._load_metainfo(metainfo)

    @property
    def classes(self) -> Sequence[str] | None:
        """The names of the classes; None if there are none."""
        return self.metainfo.get('classes')

    def folder(self, key: str) -> str:
        """The folder that ``data_prefix`` names under a key, such as 'img'; the root if it names none."""
        prefix = self.config.get('data_prefix') or {}
        return os.path.join(self.root, (prefix.get(key) if isinstance(prefix, dict) else prefix) or '')


AnnotationCheck = Callable[[DatasetSettings], Iterable[Problem]]
CHECKS: dict[type | str, tuple[AnnotationCheck, tuple[str, ...]]] = {}


def annotation_check(*classes: type | str, read_by: Sequence[str] = ()) -> Callable[[AnnotationCheck], AnnotationCheck]:
    """Register the check of the annotations of some classes of datasets, and of what inherits from them.

    Args:
        *classes (type | str): The classes; as 'mmdet.CocoDataset', so that the toolbox need not be installed.
        read_by (Sequence[str]): The methods by which such a class reads its annotations. A subclass with one of its
            own is left to the check of a class further up. Defaults to ().
    """

    def register(check: AnnotationCheck) -> AnnotationCheck:
        CHECKS.update({kind: (check, tuple(read_by)) for kind in classes})
        return check

    return register


def find_annotation_check(kind: type) -> AnnotationCheck | None:
    """The check of the nearest class that a class of datasets is or inherits from; None if there is none."""
    for name, base in ancestors(kind).items():
        check, methods = CHECKS.get(base) or CHECKS.get(name) or (None, ())
        if check and inherits(kind, base, *methods):
            return check
    return None


def inherits(kind: type, base: type | None, *methods: str) -> bool:
    """Whether there is such a base, and a class that inherits from it has these methods of it unchanged."""
    return base is not None and all(getattr(kind, name, None) is getattr(base, name, None) for name in methods)
