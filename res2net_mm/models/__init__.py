from .. import weights  # noqa: F401  (registers the checkpoint names res2net_mm://...)
from .bottle2neck import Bottle2neck
from .res2net import Res2Net

__all__ = ['Bottle2neck', 'Res2Net']
