"""The parts of a toolbox's model that this package looks into."""
from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def backbone_and_neck(model: nn.Module) -> list[nn.Module]:
    """Return the backbone, and the neck if there is one, of a model.

    Args:
        model (nn.Module): A model of a toolbox, or a distributed wrapper of one.
    """
    model = bare_model(model)
    return [getattr(model, name) for name in ('backbone', 'neck') if getattr(model, name, None) is not None]


def bare_model(model: nn.Module) -> nn.Module:
    """A model without its wrapper, such as DDP."""
    return model.module if is_model_wrapper(model) else model
