"""Big-Little Net with Res2Net blocks: bLRes2Net, and with one split bLResNet.

Source: *Big-Little Net*, arXiv 1807.03848, for the trunk; *Res2Net*, arXiv 1904.01169, Table 1 for bLRes2Net-50, of
which it says only that the bottlenecks are replaced by Res2Net blocks. How wide the blocks of the little branches are,
and which blocks are stage blocks, is therefore our reading: the rules of Res2Net-50, applied to every sequence.
"""
from __future__ import annotations

from functools import partial
from typing import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from ...registry import MODELS
from ..layers.argument_names import REPLACED_OF_BACKBONES
from ..layers.arguments import Flag, Integer, Integers, OneOf, OrNone, checked
from ..layers.bottle2neck import BN, Bottle2neck
from ..layers.build import build_conv, build_norm
from ..layers.config_rules import LayerConfig
from .base import COMMON_RULES, MOST_SCALES, Backbone

STAGE_BLOCKS = {  # depth: blocks of each stage; the last of a Big-Little stage is its fusion
    50: (3, 4, 6, 3),
    101: (4, 8, 18, 3),
}
RULES = dict(
    depth=OneOf(*STAGE_BLOCKS),
    scales=Integer(1, MOST_SCALES),
    alpha=Integer(1, where=lambda alpha, arguments: 64 % alpha == 0, what='a divisor of 64'),
    base_width=Integer(
        1, where=lambda width, arguments: width >= arguments['alpha'],
        what=lambda arguments: f'at least {arguments["alpha"]}, or splits of the first little branch '
        f'({64 // arguments["alpha"]} planes) have no channels'),
    beta=Integer(1),
    out_indices=Integers(Integer(0, 3), distinct=True),
    frozen_stages=Integer(-1, 4),
    conv_cfg=OrNone(LayerConfig("dict(type='Conv2d')")),
    zero_init_residual=Flag(),
    **COMMON_RULES,
)


class BigLittle(nn.Module):
    """One stage: a deep branch on a map of half the size, a shallow and thin one on the whole map, and their fusion::

        out = fusion(ReLU(upsample(big(x)) + little_e(little(x))))

    Args:
        big (nn.Module): The branch that halves the resolution. It ends without a ReLU.
        little (nn.Module): The branch that keeps it, with fewer blocks and channels.
        little_e (nn.Module): The 1×1 that gives the little branch as many channels as the big one, without a ReLU.
        fusion (nn.Module): The block after the addition; the stride of the stage is in it.
    """

    def __init__(self, big: nn.Module, little: nn.Module, little_e: nn.Module, fusion: nn.Module) -> None:
        super().__init__()
        self.big = big
        self.little = little
        self.little_e = little_e
        self.fusion = fusion
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage.

        Args:
            x (Tensor): (n, in_channels, h, w).

        Returns:
            Tensor: (n, out_channels, h / stride, w / stride).
        """
        little = self.little_e(self.little(x))  # (n, out_channels, h, w)
        big = interpolate(self.big(x), size=little.shape[-2:], mode='nearest')  # to the size, for odd ones
        return self.fusion(self.relu(big + little))


@MODELS.register_module()
class BLRes2Net(Backbone):
    """bLRes2Net: Big-Little Net around :class:`Bottle2neck` (Res2Net paper, Table 1).

    The defaults give bLRes2Net-50; ``scales=1, base_width=64`` is exactly bLResNet-50 with α = 2 and β = 4. The first
    three stages are :class:`~.BigLittle`, the fourth is a plain sequence of blocks. The stride of a Big-Little stage is
    in its last block, so there are no features at stride 4, and two stages at stride 16:

    =====================  ===  ====  ====  ====
    index in out_indices   0    1     2     3
    channels               256  512   1024  2048
    stride                 8    16    16    32
    =====================  ===  ====  ====  ====

    ``out_indices=(0, 2, 3)`` is a pyramid of strides 8, 16 and 32.

    Args:
        depth (int): 50 or 101. Defaults to 50.
        scales (int): Splits of a block, s, at most 256; 1 gives bLResNet. Defaults to 4.
        base_width (int): Channels of one split of a block of 64 planes, w. A block of p planes has ⌊p·w/64⌋; the planes
            are a quarter of its output channels. Defaults to 26.
        alpha (int): The little branches have 1/α of the channels; a divisor of 64. Defaults to 2.
        beta (int): In a stage of n blocks the little branch has max(1, ⌊n/β⌋ - 1), the big one n - 1. Defaults to 4.
        in_channels (int): Channels of the image; for public weights, which are of 3, see ``adapt_in_channels`` of
            :class:`~.PretrainedModule`. Defaults to 3.
        out_indices (Sequence[int]): Stages whose outputs are returned. Defaults to (0, 1, 2, 3).
        frozen_stages (int): Stages that are not trained: -1 none, 0 the stem, k the stem and the first k stages.
            Defaults to -1.
        conv_cfg (dict | None): mmcv config of the convolutions. Defaults to None, Conv2d.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        norm_eval (bool): Keep batch norms in eval mode while training. Defaults to False.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant checkpointing): less memory, more time,
            the same gradients and running statistics. Defaults to False.
        zero_init_residual (bool): Start with the last norm of every block at zero, as bLResNet was trained; no effect
            on pretrained weights. Defaults to True.
        init_cfg (dict | list[dict] | None): mmengine's initialisation. ``dict(type='Pretrained', checkpoint=...)``
            fails unless every weight of the backbone is in the checkpoint. Defaults to None: Kaiming for convolutions,
            ones for norms.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.

    Example:
        >>> import torch
        >>> from res2net_mm import BLRes2Net
        >>> [tuple(out.shape) for out in BLRes2Net(depth=50)(torch.rand(1, 3, 64, 64))]
        [(1, 256, 8, 8), (1, 512, 4, 4), (1, 1024, 4, 4), (1, 2048, 2, 2)]
    """

    stage_blocks = STAGE_BLOCKS
    stage_channels = (256, 512, 1024, 2048)
    stage_strides = (8, 16, 16, 32)

    @checked(RULES, REPLACED_OF_BACKBONES)
    def __init__(self,
                 depth: int = 50,
                 scales: int = 4,
                 base_width: int = 26,
                 alpha: int = 2,
                 beta: int = 4,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 frozen_stages: int = -1,
                 conv_cfg: dict | None = None,
                 norm_cfg: dict = BN,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 zero_init_residual: bool = True,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval, zero_init_residual, init_cfg)
        self.variant = f'bLRes2Net-{depth} {base_width}w{scales}s'

        self._make_stem(in_channels, 64 // alpha, conv_cfg, norm_cfg)
        blocks = partial(make_blocks, scales=scales, base_width=base_width, conv_cfg=conv_cfg, norm_cfg=norm_cfg,
                         with_cp=with_cp)
        channels = 64
        for i, (n, out, stride) in enumerate(zip(self.stage_blocks[depth], self.stage_channels, (2, 2, 1, 2))):
            if i < 3:
                stage = BigLittle(
                    big=blocks(channels, out, n - 1, stride=2, last_relu=False),
                    little=blocks(channels, out // alpha, max(1, n // beta - 1), stride=1),
                    little_e=nn.Sequential(
                        build_conv(conv_cfg, out // alpha, out, 1), build_norm(norm_cfg, out)),
                    fusion=blocks(out, out, 1, stride=stride))
            else:
                stage = blocks(channels, out, n, stride=stride)
            self.add_module(f'layer{i + 1}', stage)
            channels = out
        self._freeze_stages()

    def _make_stem(self, in_channels: int, little: int, conv_cfg: dict | None, norm_cfg: dict) -> None:
        """7×7 to stride 2, then a big (b) and a little (l) branch to stride 4, and a 1×1 over their sum."""

        conv, norm = partial(build_conv, conv_cfg), partial(build_norm, norm_cfg)

        self.conv1, self.bn1 = conv(in_channels, 64, 7, stride=2), norm(64)
        self.b_conv0, self.bn_b0 = conv(64, 64, 3, stride=2), norm(64)
        self.l_conv0, self.bn_l0 = conv(64, little, 3), norm(little)
        self.l_conv1, self.bn_l1 = conv(little, little, 3, stride=2), norm(little)
        self.l_conv2, self.bn_l2 = conv(little, 64, 1), norm(64)
        self.bl_init, self.bn_bl_init = conv(64, 64, 1), norm(64)
        self.relu = nn.ReLU(inplace=True)

    @property
    def stem_modules(self) -> list[nn.Module]:
        """The layers before ``layer1``."""
        return [self.conv1, self.bn1, self.b_conv0, self.bn_b0, self.l_conv0, self.bn_l0, self.l_conv1, self.bn_l1,
                self.l_conv2, self.bn_l2, self.bl_init, self.bn_bl_init]

    def forward_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, 64, h/4, w/4)."""
        x = self.relu(self.bn1(self.conv1(x)))  # (n, 64, h/2, w/2)
        big = self.bn_b0(self.b_conv0(x))  # (n, 64, h/4, w/4)
        little = self.relu(self.bn_l0(self.l_conv0(x)))  # (n, 64/α, h/2, w/2)
        little = self.relu(self.bn_l1(self.l_conv1(little)))  # (n, 64/α, h/4, w/4)
        little = self.bn_l2(self.l_conv2(little))  # (n, 64, h/4, w/4)
        return self.relu(self.bn_bl_init(self.bl_init(self.relu(big + little))))


def make_blocks(in_channels: int,
                out_channels: int,
                count: int,
                stride: int,
                scales: int,
                base_width: int,
                conv_cfg: dict | None,
                norm_cfg: dict,
                with_cp: bool,
                last_relu: bool = True) -> nn.Sequential:
    """Make a sequence of ``count`` blocks, the first of which takes the input to the output's shape.

    Only where it does change the shape is it a stage block: little branches and fusions that keep it add their splits.
    """
    downsample = make_pooled_shortcut(in_channels, out_channels, stride, conv_cfg, norm_cfg)
    blocks = []
    for b in range(count):
        first, last = b == 0, b == count - 1
        blocks.append(
            Bottle2neck(
                in_channels if first else out_channels,
                out_channels,
                out_channels // 4 * base_width // 64,
                scales=scales,
                stride=stride if first else 1,
                stage_block=first and downsample is not None,
                downsample=downsample if first else None,
                last_relu=last_relu or not last,
                conv_cfg=conv_cfg,
                norm_cfg=norm_cfg,
                with_cp=with_cp))
    return nn.Sequential(*blocks)


def make_pooled_shortcut(in_channels: int, out_channels: int, stride: int, conv_cfg: dict | None,
                         norm_cfg: dict) -> nn.Sequential | None:
    """Average pooling if there is a stride, and a 1×1 if the channels change; None if neither.

    Unlike the pooling of Res2Net v1b it is 3×3 and, because the published keys do not count it, absent at stride 1.
    """
    layers: list[nn.Module] = []
    if stride > 1:
        layers.append(nn.AvgPool2d(3, stride, padding=1))
    if in_channels != out_channels:
        layers += [build_conv(conv_cfg, in_channels, out_channels, 1), build_norm(norm_cfg, out_channels)]
    return nn.Sequential(*layers) if layers else None
