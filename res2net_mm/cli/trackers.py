"""``--tracker NAME``: losses and metrics of a training also go to TensorBoard, Weights & Biases, MLflow, ...

mmengine's Visualizer hands what is logged to its ``vis_backends``, in the first process alone. A tracker is one more of
them; those that a config has already stay.
"""
from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

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
        missing = [module for module in TRACKERS[name].modules if not is_installed(module)]
        if missing:
            raise UserError(f'--tracker {name}: {" and ".join(missing)} cannot be imported; get it with: '
                            f'pip install {" ".join(missing)}')
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
            backends.append(dict(type=TRACKERS[name].backend))
    visualizer['vis_backends'] = backends
    cfg.visualizer = visualizer


def is_installed(module: str) -> bool:
    """Whether a module can be imported; a folder of that name, such as the one that wandb logs into, is none."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None
