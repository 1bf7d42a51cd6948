"""``--resume``: which checkpoint a run goes on from, and the hooks that make it the run that was cut off."""
from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import HOOKS

from ..utils.config_types import ancestors, config_class
from .launch import restarted
from .runner import add_hook

OURS, MMENGINES = 'res2net_mm.CheckpointHook', 'mmengine.CheckpointHook'


def resume(cfg: Config, asked: str | None) -> list[str]:
    """Have a run go on, where its arguments or its config ask for it, or its scheduler has started it again.

    A run that was started again goes on from what it has saved, if it has, whatever its arguments say.

    Args:
        cfg (mmengine.Config): The config, changed in place as by ``go_on``.
        asked (str | None): ``--resume``: a checkpoint, 'auto', or None.

    Returns:
        list[str]: Warnings for the run's log.

    Raises:
        UserError: As ``go_on``.
    """
    if not asked and cfg.get('resume'):
        asked = cfg.resume if isinstance(cfg.resume, str) else cfg.get('load_from') or 'auto'
    warnings = go_on(cfg, 'auto') if restarted() or asked == 'auto' else []
    if asked not in (None, 'auto') and not (restarted() and cfg.resume):
        warnings += go_on(cfg, asked)
    return warnings


def go_on(cfg: Config, checkpoint: str) -> list[str]:
    """Have a run go on from a checkpoint; from nothing if its work directory has none yet.

    Args:
        cfg (mmengine.Config): The config, changed in place: ``resume``, ``load_from``, and the seed of the run that
            goes on, where the config leaves it to chance.
        checkpoint (str): A checkpoint; 'auto': the newest whole one of the work directory.

    Returns:
        list[str]: Warnings for the run's log.

    Raises:
        UserError: If the checkpoint cannot be read, or holds no state of a training.
    """
    from ..engine.resumption import find_resumption, read_resumption
    folder = checkpoint_folder(cfg)
    if '://' in checkpoint or (checkpoint == 'auto' and '://' in folder):
        cfg.resume, cfg.load_from = True, None if checkpoint == 'auto' else checkpoint
        return []
    found = find_resumption(cfg.work_dir, folder) if checkpoint == 'auto' else read_resumption(checkpoint)
    if found is None:
        cfg.resume = False
        return [f"'{cfg.work_dir}' has no checkpoint yet: the run begins"]
    cfg.resume, cfg.load_from = True, str(found.path)
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None:
        cfg.randomness = dict(randomness, seed=found.meta.get('seed'))
    return found.warnings


def checkpoint_folder(cfg: Config) -> str:
    """Where the checkpoints of a run are: CheckpointHook's ``out_dir`` has a folder for each work directory."""
    out_dir = checkpoint_hook(cfg).get('out_dir')
    return str(Path(out_dir, Path(cfg.work_dir).name)) if out_dir and '://' not in out_dir else out_dir or cfg.work_dir


def checkpoint_hook(cfg: Config) -> dict:
    """What the config says of the hook that saves checkpoints; nothing if it has none."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    return hook if isinstance(hook, dict) else {}


def guard_run(cfg: Config, new_schedule: bool = False) -> list[str]:
    """Have a run save whole files, stop at a loss that is no number, and resume as a run without a break.

    Args:
        cfg (mmengine.Config): The config, changed in place: hooks of this package in place of mmengine's, and beside
            its own.
        new_schedule (bool): Follow the config's schedule from here on, not the checkpoint's. Defaults to False.

    Returns:
        list[str]: Warnings for the run's log.
    """
    warnings = []
    scope = cfg.get('default_scope')
    # mmengine's default, which a config need not name
    cfg.default_hooks = {'checkpoint': dict(type='CheckpointHook', interval=1), **(cfg.get('default_hooks') or {})}
    hooks = [cfg.default_hooks.checkpoint, *(cfg.get('custom_hooks') or [])]
    kinds = [config_class(hook, HOOKS, scope) for hook in hooks]
    for hook, kind in zip(hooks, kinds):
        bases = ancestors(kind)
        if f'{kind.__module__.partition(".")[0]}.{kind.__name__}' == MMENGINES and isinstance(hook, dict):
            hook['type'] = OURS
        elif MMENGINES in bases and OURS not in bases:
            warnings.append(f'{kind.__name__} saves as mmengine does: a kill while it saves can cost the last one')
    present = {name for kind in kinds for name in ancestors(kind)}
    for name in ('res2net_mm.StopAtInvalidLoss', 'res2net_mm.ResumeExactly', 'res2net_mm.ResumeSchedule'):
        if name not in present:
            add_hook(cfg, name)
    for hook in cfg.custom_hooks:
        if 'res2net_mm.ResumeSchedule' in ancestors(config_class(hook, HOOKS, scope)):
            hook['follow_config'] = new_schedule
    return warnings
