"""The classes that a config's ``type`` names, in each of mmengine's styles, and what they inherit from.

A ``type`` is 'CocoDataset' in a scope, 'mmdet.CocoDataset', 'mmdet.datasets.coco.CocoDataset', or in a config with
``read_base`` the class itself. Ask for the class, and never compare the text: a subclass does what its base does.
"""
from __future__ import annotations

import inspect
from typing import Any

from mmengine.registry import Registry


def config_class(config: Any, registry: Registry, scope: str | None) -> type:
    """The class of what a config describes.

    Args:
        config (dict | object): The config; of an object that is built already, its class is returned.
        registry (mmengine.Registry): mmengine's registry of its kind, such as ``mmengine.registry.MODELS``.
        scope (str | None): The toolbox that names are looked up in: the ``default_scope`` of the whole config.

    Returns:
        type: The class; ``object`` if none of that name is known, which the Runner will say, or if a function stands
        for it.
    """
    if not isinstance(config, dict):
        return type(config)
    kind = config.get('type')
    if isinstance(kind, str):
        with registry.switch_scope_and_registry(config.get('_scope_') or scope) as scoped:
            kind = scoped.get(kind)
    return kind if isinstance(kind, type) else object


def ancestors(kind: type) -> dict[str, type]:
    """A class and all that it inherits from, by package and name, such as 'mmdet.BaseDetector'."""
    return {f'{base.__module__.partition(".")[0]}.{base.__name__}': base for base in kind.__mro__}


def argument_names(kind: type) -> set[str]:
    """The names of the arguments of a class, also of those that it passes on to the classes it inherits from."""
    return {name for base in kind.__mro__ if '__init__' in vars(base) and base is not object
            for name in inspect.signature(vars(base)['__init__']).parameters}
