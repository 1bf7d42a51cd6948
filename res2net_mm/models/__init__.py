"""Backbones, heads, and the table of their names.

Importing it registers the models, and the scheme ``res2net_mm://`` of public weights; it changes nothing else.
"""
from .backbones.bl_res2net import BLRes2Net
from .backbones.cifar_res2next import CifarRes2NeXt
from .backbones.dla import DLA
from .backbones.res2net import Res2Net
from .heads.dss_head import DSSHead
from .heads.res2_shared_head import Res2SharedHead
from .layers.bottle2neck import Bottle2neck

__all__ = ['BLRes2Net', 'Bottle2neck', 'CifarRes2NeXt', 'DLA', 'DSSHead', 'Res2Net', 'Res2SharedHead']
