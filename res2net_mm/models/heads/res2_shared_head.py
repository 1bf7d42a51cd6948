"""The last stage of a Res2Net as a shared head of RoI features: what Faster R-CNN without FPN (C4) needs."""
from __future__ import annotations

from torch import Tensor

from ...registry import MODELS
from ..backbones.base import DEFAULT_INIT, batch_norms_to_eval
from ..backbones.res2net import Res2Net
from ..layers.arguments import Flag, Integer, OneOf, checked
from ..layers.bottle2neck import BN, STAGE_POOLS
from ..layers.config_rules import ArchitectureName, InitConfig, LayerConfig, OrAsArch
from ..pretrained import PretrainedModule
from ..tracing import Scriptable

RULES = dict(
    arch=ArchitectureName('res2net_mm.Res2Net'),
    stride=Integer(1),
    dilation=Integer(1),
    style=OneOf('pytorch', 'caffe'),
    stage_pool=OrAsArch(OneOf(*STAGE_POOLS)),
    norm_cfg=LayerConfig(),
    norm_eval=Flag(),
    with_cp=Flag(),
    init_cfg=InitConfig(),
)


@MODELS.register_module()
class Res2SharedHead(Scriptable, PretrainedModule):
    """Stage 4 of a Res2Net, ``layer4``, on the features of each RoI (mmdet's ``shared_head``; paper section 4.4).

    The backbone beside it has ``num_stages=3, out_indices=(2, )``. Both load from one ImageNet checkpoint: each takes
    its stages and leaves the others.

    Args:
        arch (str): A name that :class:`Res2Net` knows. Defaults to 'res2net50_26w4s'.
        stride (int): Stride of the first block. Defaults to 2.
        dilation (int): Dilation of all 3×3 convolutions. Defaults to 1.
        style (str): As in :class:`Res2Net`. Defaults to 'pytorch'.
        stage_pool (str | None): As in :class:`Res2Net`. Defaults to None, as ``arch``.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        norm_eval (bool): Keep batch norms in eval mode while training. Defaults to True.
        with_cp (bool): Recompute blocks in the backward pass. Defaults to False.
        init_cfg (dict | list[dict] | None): mmengine's initialisation. ``dict(type='Pretrained', checkpoint=...)``
            fails unless every weight of the stage is in the checkpoint. Defaults to None: Kaiming for convolutions,
            ones for norms.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.
    """

    # How the keys start of what a whole checkpoint has beside this stage.
    unneeded = ('conv1.', 'bn1.', 'stem.', 'layer1.', 'layer2.', 'layer3.')

    @checked(RULES)
    def __init__(self,
                 arch: str = 'res2net50_26w4s',
                 stride: int = 2,
                 dilation: int = 1,
                 style: str = 'pytorch',
                 stage_pool: str | None = None,
                 norm_cfg: dict = BN,
                 norm_eval: bool = True,
                 with_cp: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg or DEFAULT_INIT)
        trunk = Res2Net(arch, strides=(1, 2, 2, stride), dilations=(1, 1, 1, dilation), style=style,
                        stage_pool=stage_pool, norm_cfg=norm_cfg, norm_eval=norm_eval, with_cp=with_cp)
        self.variant = f'stage 4 of {trunk.variant}'
        self.out_channels = trunk.stage_channels[-1]
        self.norm_eval = norm_eval
        self.stage_pool = trunk.stage_pool
        self.layer4 = trunk.layer4

    def forward(self, x: Tensor) -> Tensor:
        """(RoIs, 1024, h, w) -> (RoIs, 2048, h/stride, w/stride), sizes rounded up."""
        return self.layer4(x)

    def train(self, mode: bool = True) -> Res2SharedHead:
        """Set the training mode, but keep batch norms under ``norm_eval`` in eval mode."""
        super().train(mode)
        if mode and self.norm_eval:
            batch_norms_to_eval(self)
        return self
