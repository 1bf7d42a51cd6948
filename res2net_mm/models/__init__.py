from .. import weights  # noqa: F401  (registers the checkpoint names res2net_mm://...)
from .res2net import Bottle2neck, Res2Net

__all__ = ['Bottle2neck', 'Res2Net']
