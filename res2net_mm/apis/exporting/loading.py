"""The model of a config with the weights of a checkpoint, and what its dataset is called by."""
from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from torch import nn

from ...datasets.checks.configs import leaves
from ...utils.errors import UserError
from ..inferencers import class_names, dataset_meta, load_files, read_model_config
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
    cfg, scope = read_model_config(files.config)
    if cfg.get('test_dataloader') is None:
        raise UserError(f"config '{files.config}' has no test_dataloader, whose pipeline says how images are prepared")
    model = build_model(cfg)
    return describe_model(files.name, cfg, model, load_files(model, files, scope))


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
    scope = cfg.get('default_scope')
    alone = Config(dict(default_scope=scope, test_dataloader=dict(dataset=leaves(cfg.test_dataloader.dataset)[0])))
    with DefaultScope.overwrite_default_scope(scope):
        known = {**dataset_meta(alone, scope), **{key.lower(): value for key, value in meta.items()}}
    classes, task = class_names(known.get('classes'), model, cfg), find_task(cfg)
    links = known.get('skeleton_links') or () if task == 'keypoints' else ()
    return ModelToExport(name, cfg, model, task, classes, tuple((int(a), int(b)) for a, b in links))
