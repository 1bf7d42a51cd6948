"""Changes to a whole config: one of its test settings, another folder of data."""
from __future__ import annotations

from typing import Any, ItemsView, Iterator

from mmengine.config import Config

from .errors import UserError


def apply_setting(cfg: Config, name: str, config: str) -> None:
    """Merge one of the config's ``test_settings``, a dict of partial configs by name, into the config.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        name (str): The setting.
        config (str): What the message calls the config.

    Raises:
        UserError: If the config has no such setting.
    """
    settings = cfg.get('test_settings') or {}
    if name not in settings:
        known = f'only {", ".join(settings)}' if settings else 'no test_settings'
        raise UserError(f'--setting {name}: {config} has {known}')
    cfg.merge_from_dict(settings[name])


def move_data_root(cfg: Config, root: str) -> None:
    """Replace the config's ``data_root`` wherever a path starts with it.

    That is the ``data_root`` of the whole config, or else the first one of its training, validation and test data.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        root (str): The new folder.

    Raises:
        UserError: If the config has no ``data_root``.
    """
    loaders = [cfg.get(f'{split}_dataloader') for split in ('train', 'val', 'test')]
    old = cfg.get('data_root') or next(data_roots(loaders), None)
    if not old:
        raise UserError('--data-root: this config has no data_root; use --cfg-options')
    root = root.rstrip('/') + '/'

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return type(value)({key: moved(item) for key, item in unbuilt_items(value)})
        if isinstance(value, (list, tuple)):
            return type(value)(moved(item) for item in value)
        if isinstance(value, str) and (value + '/').startswith(old.rstrip('/') + '/'):
            return root + value[len(old):].lstrip('/')
        return value

    for key in list(cfg):
        cfg[key] = moved(cfg[key])


def unbuilt_items(config: dict) -> ItemsView:
    """The items of a part of a config, as they are to be put into another.

    In a config with ``read_base`` a class is an object that imports it later. ConfigDict.items would import it, and
    mmengine cannot write a config with such a class so that it can be read again.
    """
    return dict.items(config)


def data_roots(value: Any) -> Iterator[str]:
    """Every ``data_root`` in a part of a config, from the outside inwards."""
    if isinstance(value, dict):
        if value.get('data_root'):
            yield value['data_root']
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from data_roots(item)
