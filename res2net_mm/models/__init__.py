from .. import weights  # noqa: F401  (registers the checkpoint names res2net_mm://...)
from .blnet import BLRes2Net
from .bottle2neck import Bottle2neck
from .cifar import CifarRes2NeXt
from .dla import DLA
from .dss_head import DSSHead
from .res2net import Res2Net
from .res_head import Res2SharedHead

__all__ = ['BLRes2Net', 'Bottle2neck', 'CifarRes2NeXt', 'DLA', 'DSSHead', 'Res2Net', 'Res2SharedHead']
