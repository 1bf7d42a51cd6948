"""The parts of a toolbox's model that this package looks into."""
from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def backbone_and_neck(model: nn.Module) -> list[nn.Module]:
    """Return the backbone, and the neck if there is one, of a model.

    Args:
        model (nn.Module): A model of a toolbox, or a distributed wrapper of one.
    """
    model = model.module if is_model_wrapper(model) else model
    return [getattr(model, name) for name in ('backbone', 'neck') if getattr(model, name, None) is not None]
