"""Cuts of an experiment: a tenth of the schedule, a few iterations, random weights; as a config that inherits it.

All of them change a copy of the plain dict of a config (``load_config(path).to_dict()``), whatever the toolbox.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from pprint import pformat
from typing import Any

SHORT = 10
SMOKE_ITERS, SMOKE_BATCH, SMOKE_IMAGES = 2, 2, dict(train=4, val=2, test=2)


def full_schedule(cfg: dict[str, Any]) -> dict[str, Any]:
    """The experiment as it is."""
    return deepcopy(cfg)


def short_schedule(cfg: dict[str, Any]) -> dict[str, Any]:
    """The experiment with a schedule of a tenth.

    Cut are the length, the learning-rate steps, the warm-up, and the intervals of validation and checkpoints. A
    schedule in epochs with steps keeps at least 2 epochs, so that one step is left; the tenth is rounded to whole
    epochs. Hooks with a schedule of their own (a switch of the pipeline, say) are left alone.
    """
    cfg = deepcopy(cfg)
    loop = cfg['train_cfg']
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    by_epoch = loop.get('max_epochs') is not None
    unit = 'max_epochs' if by_epoch else 'max_iters'
    least = 2 if by_epoch and any('milestones' in scheduler for scheduler in schedulers) else 1
    length = min(loop[unit], max(least, round(loop[unit] / SHORT)))
    ratio = length / loop[unit]

    def cut(section, *names):
        for name in names:
            if (section.get(name) or 0) > 0:  # -1: never
                section[name] = max(1, round(section[name] * ratio))

    cut(loop, unit, 'val_begin', 'val_interval')
    cut(cfg.get('default_hooks', {}).get('checkpoint') or {}, 'interval')
    for scheduler in schedulers:
        cut(scheduler, 'T_max', 'total_steps', 'step_size')
        if 'begin' in scheduler:
            scheduler['begin'] = round(scheduler['begin'] * ratio)
        if 'end' in scheduler:
            scheduler['end'] = max(scheduler.get('begin', 0) + 1, round(scheduler['end'] * ratio))
        if 'milestones' in scheduler:
            # A step on the end would have no effect, and two that fall together the effect of their product.
            last = length - 1 if scheduler.get('by_epoch', True) == by_epoch else float('inf')
            steps = {min(max(1, round(step * ratio)), last) for step in scheduler['milestones']}
            scheduler['milestones'] = sorted(step for step in steps if step)
    return cfg


def smoke_schedule(cfg: dict[str, Any]) -> dict[str, Any]:
    """Two iterations, or an epoch, of four images without worker processes, to see whether it runs at all."""
    cfg = deepcopy(cfg)
    loop = cfg['train_cfg']
    length = 1 if loop.get('max_epochs') is not None else SMOKE_ITERS
    loop.update({'max_epochs' if loop.get('max_epochs') is not None else 'max_iters': length}, val_interval=length)
    if 'val_begin' in loop:
        loop['val_begin'] = 1
    if cfg.get('default_hooks', {}).get('logger'):
        cfg['default_hooks']['logger']['interval'] = 1
    for split, images in SMOKE_IMAGES.items():
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            loader.update(num_workers=0, persistent_workers=False,
                          batch_size=min(SMOKE_BATCH, loader.get('batch_size', 1)))
            for dataset in innermost_datasets(loader['dataset']):
                dataset['indices'] = images
    return cfg


def innermost_datasets(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """The datasets inside ``RepeatDataset``, ``ConcatDataset`` and the like."""
    inner = dataset.get('datasets') or ([dataset['dataset']] if 'dataset' in dataset else [])
    return [leaf for item in inner for leaf in innermost_datasets(item)] if inner else [dataset]


def random_weights(cfg: dict[str, Any]) -> dict[str, Any]:
    """The experiment from random weights, so with no frozen stage and no frozen batch norm."""
    cfg = deepcopy(cfg)

    def unfrozen(value):
        if isinstance(value, list):
            return [unfrozen(item) for item in value if not is_pretrained(item)]
        if not isinstance(value, dict):
            return value
        value = {key: None if is_pretrained(item) else unfrozen(item) for key, item in value.items()}
        value.update({key: new for key, new in dict(pretrained=None, frozen_stages=-1, norm_eval=False).items()
                      if key in value})
        return value

    cfg['model'] = unfrozen(cfg['model'])
    cfg['model']['backbone'].update(init_cfg=None, frozen_stages=-1, norm_eval=False)
    cfg['load_from'] = None
    return cfg


def is_pretrained(value: Any) -> bool:
    """Whether a value of a config names the weights of a model."""
    return isinstance(value, dict) and value.get('type') == 'Pretrained'


SCHEDULES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    'full': full_schedule, 'short': short_schedule, 'smoke': smoke_schedule}


def config_difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What a config has to state to turn ``old``, its base, into ``new``."""
    return {
        key: config_difference(old[key], value) if isinstance(value, dict) and isinstance(old.get(key), dict) else value
        for key, value in new.items() if key not in old or value != old[key]
    }


def derived_config_text(base: str | Path, changes: Mapping[str, Any], title: str) -> str:
    """The text of a config that inherits the file ``base`` and states ``changes``, a dict."""
    lines = [f'"""{title}"""', f'_base_ = {str(base)!r}', '']
    lines += [f'{key} = {pformat(value, width=118, sort_dicts=False)}' for key, value in changes.items()]
    return '\n'.join(lines) + '\n'
