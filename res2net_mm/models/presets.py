"""Backbones by name, for tools that compare them."""
from ..registry import MODELS
from .dla import ARCHS as DLA_ARCHS
from .res2net import ALIASES, ARCHS

PRESETS = {  # name: config
    **{name: dict(type='res2net_mm.Res2Net', arch=name) for name in (*ARCHS, *ALIASES)},
    **{name: dict(type='res2net_mm.DLA', arch=name) for name in DLA_ARCHS},
    'bl_res2net50': dict(type='res2net_mm.BLRes2Net'),
    'bl_resnet50': dict(type='res2net_mm.BLRes2Net', scales=1, base_width=64),
}


def build_preset(name):
    """Build a backbone, with weights as its layers draw them.

    Args:
        name (str): A key of ``PRESETS``.

    Returns:
        Backbone: In training mode.

    Raises:
        ValueError: If there is no such preset; the message lists those that there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' must be one of {', '.join(PRESETS)}")
    return MODELS.build(PRESETS[name])
