"""Backbones by name, for tools that compare them."""
from ..registry import MODELS
from .backbones.dla import ARCHS as DLA_ARCHS
from .backbones.res2net import ALIASES, ARCHS

PRESETS = {  # name: config
    **{name: dict(type='res2net_mm.Res2Net', arch=name) for name in (*ARCHS, *ALIASES)},
    **{name: dict(type='res2net_mm.DLA', arch=name) for name in DLA_ARCHS},
    'bl_res2net50': dict(type='res2net_mm.BLRes2Net'),
    'bl_resnet50': dict(type='res2net_mm.BLRes2Net', scales=1, base_width=64),
}


def find_preset(name):
    """The config of a preset.

    Raises:
        ValueError: If there is no such preset; the message lists those that there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' must be one of {', '.join(PRESETS)}")
    return PRESETS[name]


def build_preset(name):
    """Build the backbone of a preset, in training mode, with weights as its layers draw them; raises as above."""
    return MODELS.build(find_preset(name))
