"""``--tracker NAME``: losses and metrics of a training also go to TensorBoard, Weights & Biases, MLflow, ...

mmengine's Visualizer hands what is logged to its ``vis_backends``, in the first process alone. A tracker is one more of
them; those that a config has already stay.
"""
from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ..utils.config_types import ancestors, config_class
from ..utils.errors import UserError


@dataclass(frozen=True)
class Tracker:
    """A program that shows how trainings go.

    Args:
        backend (str): Its class in mmengine.
        modules (tuple[str, ...]): What that class imports; their packages have the same names.
    """

    backend: str
    modules: tuple[str, ...]


TRACKERS = {
    'tensorboard': Tracker('TensorboardVisBackend', ('tensorboard', )),
    'wandb': Tracker('WandbVisBackend', ('wandb', )),
    'mlflow': Tracker('MLflowVisBackend', ('mlflow', )),
    'clearml': Tracker('ClearMLVisBackend', ('clearml', )),
    'neptune': Tracker('NeptuneVisBackend', ('neptune', )),
    'dvclive': Tracker('DVCLiveVisBackend', ('dvclive', 'pygit2')),
    'aim': Tracker('AimVisBackend', ('aim', )),
}


def tracker_argument(parser: ArgumentParser) -> None:
    """Add ``--tracker``."""
    parser.add_argument('--tracker', action='append', default=[], choices=list(TRACKERS), metavar='NAME',
                        help=f'also log to NAME, one of {", ".join(TRACKERS)}; may be repeated')


def add_trackers(cfg: Config, names: Sequence[str]) -> None:
    """Have a training log to trackers, each of them once.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        names (Sequence[str]): Of ``TRACKERS``.

    Raises:
        UserError: If a package is not installed.
    """
    for name in dict.fromkeys(names):
        modules = TRACKERS[name].modules
        reason = next(filter(None, map(import_failure, modules)), None)
        if reason:
            raise UserError(f'--tracker {name}: {reason}; get it with: pip install {" ".join(modules)}')
    if not names:
        return
    # Without a visualizer mmengine's Runner takes this one.
    visualizer = cfg.get('visualizer') or dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    backends = visualizer.get('vis_backends') or []
    backends = [backends] if isinstance(backends, dict) else list(backends)
    present = {kind for backend in backends
               for kind in ancestors(config_class(backend, VISBACKENDS, cfg.get('default_scope')))}
    for name in dict.fromkeys(names):
        if f'mmengine.{TRACKERS[name].backend}' not in present:
            backends.append(dict(type=TRACKERS[name].backend, **(mlflow_settings(cfg) if name == 'mlflow' else {})))
    visualizer['vis_backends'] = backends
    cfg.visualizer = visualizer


def mlflow_settings(cfg: Config) -> dict[str, str]:
    """Where MLflow keeps a training: on the server that MLFLOW_TRACKING_URI names, or in the work directory.

    mmengine's default, which also overrules that variable, is a folder of files; MLflow 3 refuses it.
    """
    folder = Path(cfg.work_dir).absolute()
    server = os.environ.get('MLFLOW_TRACKING_URI')
    if server:
        return dict(tracking_uri=server, exp_name=folder.name)
    return dict(tracking_uri=f'sqlite:///{folder / "mlflow.db"}', exp_name=folder.name,
                artifact_location=str(folder / 'mlflow'))


def import_failure(module: str) -> str | None:
    """Why a module cannot be imported; None if it can. A folder, such as the one that wandb logs into, is no module."""
    try:
        found = import_module(module)
    except Exception as error:  # whatever an installation that is not whole may raise
        return f'{module} cannot be imported ({error})'
    return None if found.__file__ else f'{module} is not installed'
