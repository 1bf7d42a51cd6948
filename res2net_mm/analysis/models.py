"""Backbones to analyse, with random or trained weights."""
from __future__ import annotations

from mmengine.model import initialize
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ..checkpoints.loading import CLASSIFIER, find_prefix, unwrap
from ..models import names
from ..models.backbones.base import DEFAULT_INIT
from ..models.pretrained import read_weights
from ..utils.config import load_config


def initialise(backbone: nn.Module) -> nn.Module:
    """Give a backbone random weights, as ``init_weights`` does, without a line in the log for every weight."""
    initialize(backbone, DEFAULT_INIT)
    return backbone


def build_random_backbone(arch: str) -> nn.Module:
    """Build the backbone of an architecture with random weights.

    Raises:
        ValueError: If there is no such architecture; the message lists those that there are.
    """
    return initialise(names.build_backbone(arch))


def build_backbone(config: str, checkpoint: str | None = None) -> nn.Module:
    """Build the backbone of a config.

    Args:
        config (str): The config of a model with a backbone.
        checkpoint (str | None): A checkpoint of the backbone or of a model with it. Defaults to None, random weights.

    Returns:
        nn.Module: The backbone, with batch norms in place of those that synchronise between processes.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the config has no backbone, or the checkpoint does not fit it.
    """
    cfg = load_config(config)
    if 'backbone' not in cfg.get('model', {}):
        raise ValueError(f"--config: '{config}' has no model.backbone")
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    settings = cfg.model.backbone.copy()
    settings.init_cfg = None  # no download for weights that are replaced
    # Batch norms that synchronise run in no training mode on a CPU.
    if settings.get('norm_cfg', {}).get('type') == 'SyncBN':
        settings.norm_cfg = dict(settings.norm_cfg, type='BN')
    backbone = MODELS.build(settings)
    if checkpoint is None:
        return initialise(backbone)
    state, _ = unwrap(read_weights(checkpoint))
    prefix = find_prefix(state)
    state = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    try:
        backbone.load_state_dict({key: value for key, value in state.items() if not CLASSIFIER.match(key)})
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint '{checkpoint}' does not fit the backbone of '{config}': {error}") from error
    return backbone
