"""What training and testing share: mmengine's Runner, and a look at checkpoints."""
from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from mmengine.config import Config

from ..utils.errors import UserError
from .launch import join_processes

if TYPE_CHECKING:
    from mmengine.runner import Runner


def build_runner(cfg: Config) -> Runner:
    """The Runner of a config, of the kind that its ``runner_type`` names; imports torch.

    Raises:
        UserError: If ``cfg.launcher`` did not start this process.
    """
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner
    if cfg.launcher != 'none':
        join_processes(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def require_parts(cfg: Config, config: str, *names: str) -> None:
    """Refuse a config that lacks a part that a run needs.

    Args:
        cfg (mmengine.Config): The config.
        config (str): What the message calls it.
        *names (str): Its top-level settings that must be there.

    Raises:
        UserError: If one of them is missing or None.
    """
    missing = [name for name in names if cfg.get(name) is None]
    if missing:
        raise UserError(f'{config} has no {", ".join(missing)}')


def add_hook(cfg: Config, name: str) -> None:
    """Add a hook of this package to the ``custom_hooks`` of a config, which is changed in place."""
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type=name)]


def read_safely(args: Namespace) -> None:
    """Have every checkpoint that this process loads, by whatever toolbox, read by our reader; imports torch."""
    from ..checkpoints.files import install_reader
    install_reader(trust=args.trust_checkpoint)


def check_checkpoint(path: str | None) -> None:
    """Read a checkpoint before anything is built, and drop it again.

    Args:
        path (str | None): A local file; None and addresses such as ``https://...`` are not looked at.

    Raises:
        UserError: If the file does not exist or cannot be read.
    """
    if path and '://' not in path:
        from ..checkpoints.files import load_from_local
        load_from_local(path, map_location='cpu')
