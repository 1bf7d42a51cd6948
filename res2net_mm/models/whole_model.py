"""Checkpoints of whole models: of a classifier, a detector, a segmentor, ..."""
from __future__ import annotations

from torch import nn

from ..checkpoints.loading import adapt_classifier, unwrap
from .pretrained import read_weights


def load_weights(model: nn.Module, config: str, checkpoint: str, scope: str | None) -> dict:
    """Load a checkpoint of a whole model strictly.

    Args:
        model (nn.Module): The model; its weights are replaced.
        config (str): The config it is built from, for the error message.
        checkpoint (str): The checkpoint; for a classifier also public ImageNet weights of any layout.
        scope (str | None): The toolbox of the model, such as 'mmpretrain'.

    Returns:
        dict: What the checkpoint says of its dataset, such as ``classes``; empty if it says nothing.

    Raises:
        OSError: If the checkpoint cannot be read.
        ValueError: If it does not fit the model.
    """
    stored = read_weights(checkpoint)
    meta = stored.get('meta') or {}
    state, _ = unwrap(stored)
    if scope == 'mmpretrain':
        adapt_classifier(state)
    try:
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint '{checkpoint}' does not fit config '{config}': {error}"[:1500]) from error
    return meta.get('dataset_meta') or {}
