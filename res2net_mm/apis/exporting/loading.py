"""The model of a config with the weights of a checkpoint, and what its dataset is called by."""
from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from ...datasets.checks.configs import leaves
from ...models.whole_model import load_weights
from ...utils.config import load_config
from ...utils.config_types import config_class
from ...utils.errors import UserError
from ..model_files import ModelFiles
from .graphs import find_task


@dataclass
class ModelToExport:
    """A model in eval mode, on the CPU.

    Attributes:
        name (str): The name of its config.
        cfg (mmengine.Config): Its config.
        model (nn.Module): The toolbox's model.
        task (str): One of ``prediction.TASKS``.
        classes (tuple[str]): Names of its classes; for keypoints of the objects.
        skeleton (tuple[tuple[int, int]]): Pairs of keypoints. Defaults to ().
    """

    name: str
    cfg: Config
    model: nn.Module
    task: str
    classes: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = field(default=())


def load_to_export(files: ModelFiles) -> ModelToExport:
    """Build the model of a config and load its weights strictly.

    Args:
        files (ModelFiles): Config and checkpoint.

    Raises:
        UserError: If the config has no model or no test pipeline, its model is none that can be exported, or the
            checkpoint does not fit.
    """
    cfg = load_config(files.config)
    missing = [name for name in ('model', 'test_dataloader') if cfg.get(name) is None]
    if missing:
        raise UserError(f"config '{files.config}' has no {' and no '.join(missing)}, and cannot be exported")
    model = build_model(cfg)
    scope = cfg.get('default_scope')
    try:
        meta = load_weights(model, files.config, files.checkpoint, scope)
    except ValueError as error:
        raise UserError(str(error)) from error
    return describe_model(files.name, cfg, model, meta)


def build_model(cfg: Config) -> nn.Module:
    """The model of a config, in eval mode, with random weights: nothing is downloaded."""
    scope = cfg.get('default_scope')
    init_default_scope(scope or 'mmengine')
    if scope:
        import_module(f'{scope}.models')
        import_module(f'{scope}.datasets')
    settings = cfg.model.copy()
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    return MODELS.build(settings).eval()


def describe_model(name: str, cfg: Config, model: nn.Module, meta: dict[str, Any]) -> ModelToExport:
    """A built model with its task and the names of its classes.

    Args:
        name (str): The name of its config.
        cfg (mmengine.Config): Its config.
        model (nn.Module): The model.
        meta (dict): What the checkpoint says of the dataset; what is missing there the config or its dataset says.
    """
    scope, dataset = cfg.get('default_scope'), leaves(cfg.test_dataloader.dataset)[0]
    kind = config_class(dataset, DATASETS, scope)
    known = {**(getattr(kind, 'METAINFO', None) or {}), **(dataset.get('metainfo') or {}), **meta}
    task = find_task(cfg)
    if task == 'keypoints':
        if 'from_file' in known and 'skeleton_links' not in known:
            from mmpose.datasets.datasets.utils import parse_pose_metainfo
            known = {**parse_pose_metainfo(dict(from_file=known['from_file'])), **known}
        links = known.get('skeleton_links') or ()
        return ModelToExport(name, cfg, model, task, tuple(known.get('classes') or ('person', )),
                             tuple((int(a), int(b)) for a, b in links))
    classes = known.get('classes') or ()
    return ModelToExport(name, cfg, model, task, (classes, ) if isinstance(classes, str) else tuple(classes))
