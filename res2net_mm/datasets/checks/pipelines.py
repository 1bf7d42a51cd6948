"""Training pipelines that pass over samples that cannot be loaded."""
from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from ...utils.config_edits import unbuilt_items
from ...utils.config_types import ancestors, config_class
from .registry import DatasetSettings


def skip_bad_samples(cfg: Config, strict: bool = False) -> None:
    """Put SkipBadSample around every loading transform of the training pipelines.

    Pipelines inside of wrappers of datasets and of hooks are training pipelines too.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        strict (bool): Stop at the first bad sample instead. Defaults to False.
    """

    def guard(value: Any, options: dict) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(guard(item, options) for item in value)
        if not isinstance(value, dict):
            return value
        bases = ancestors(config_class(value, TRANSFORMS, scope)) if 'type' in value else {}
        if 'res2net_mm.SkipBadSample' in bases:  # this is the config that an earlier run wrote into its work directory
            return type(value)(value, strict=strict)
        if any(name.partition('.')[2].startswith('Load') for name in bases):  # what every toolbox calls them
            return type(value)(type='res2net_mm.SkipBadSample', transform=value, **options)
        if 'pipeline' in value and 'type' in value:
            options = {**options, **segmentation_labels(value, scope)}
        return type(value)({key: guard(item, options) for key, item in unbuilt_items(value)})

    scope = cfg.get('default_scope')
    if cfg.get('train_dataloader'):
        cfg.train_dataloader = guard(cfg.train_dataloader, dict(strict=strict))
    if cfg.get('custom_hooks'):  # mmdet's PipelineSwitchHook brings a second pipeline
        cfg.custom_hooks = guard(cfg.custom_hooks, dict(strict=strict))


def segmentation_labels(dataset: dict, scope: str | None) -> dict[str, int | None]:
    """The labels that loaded masks of a dataset of mmseg may have, as arguments of SkipBadSample.

    Args:
        dataset (dict): The config of any dataset.
        scope (str | None): The toolbox that its type is looked up in.

    Returns:
        dict: ``num_classes`` and ``ignore_index``; nothing for a dataset of another toolbox.
    """
    settings = DatasetSettings(dataset, 'train', scope, labelled=True)
    if 'mmseg.BaseSegDataset' not in ancestors(settings.kind):
        return {}
    classes = settings.classes
    return dict(num_classes=classes and len(classes), ignore_index=dataset.get('ignore_index', 255))
