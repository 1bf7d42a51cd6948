"""Res2NeXt-29 and ResNeXt-29 for the 32×32 images of CIFAR.

Source: *Res2Net*, arXiv 1904.01169, sections 4.3 and 4.4 (Table 4, Fig. 5); *Aggregated Residual Transformations for
Deep Neural Networks*, arXiv 1611.05431, for ResNeXt-29. The first block of every stage follows the parameter counts of
Table 4, which only a plain ResNeXt block of scales·groups groups gives; the ImageNet models have another one there
(``first_block='stage'``).
"""
from __future__ import annotations

from typing import Sequence

from torch import Tensor, nn

from ...registry import MODELS
from ..layers.argument_names import REPLACED_OF_BACKBONES
from ..layers.arguments import Integer, Integers, OneOf, checked
from ..layers.bottle2neck import BN, Bottle2neck, make_shortcut
from ..layers.build import build_conv, build_norm
from .base import COMMON_RULES, MOST_SCALES, Backbone

RULES = dict(
    depth=Integer(11, 2000, where=lambda depth, arguments: depth % 9 == 2, what='9n + 2: 11, 20, 29, 38, ...'),
    scales=Integer(1, MOST_SCALES),
    base_channels=Integer(1),
    base_width=Integer(
        1, where=lambda width, arguments: width * arguments['base_channels'] >= 64,
        what=lambda arguments: f'at least {-(-64 // arguments["base_channels"])}, or splits of the first stage '
        f'({arguments["base_channels"]} planes) have no channels'),
    groups=Integer(1),
    first_block=OneOf('grouped', 'stage'),
    se_reduction=Integer(0, lambda arguments: 4 * arguments['base_channels']),
    out_indices=Integers(Integer(0, 2), distinct=True),
    frozen_stages=Integer(-1, 3),
    **COMMON_RULES,
)


@MODELS.register_module()
class CifarRes2NeXt(Backbone):
    """Three stages of :class:`Bottle2neck` at strides 1, 2 and 4, with 256, 512 and 1024 channels (paper section 4.3).

    The defaults give Res2NeXt-29, 6c×24w×4s. ResNeXt-29, 8c×64w is ``scales=1, base_width=64, groups=8``. A smaller
    ``base_channels`` makes stem, stages and splits narrower alike.

    Args:
        depth (int): 9n + 2 layers, at most 2000, n blocks in every stage. Defaults to 29.
        scales (int): Splits of a block, s, at most 256; 1 gives ResNeXt. Defaults to 4.
        base_width (int): Channels of one group of one split in the first stage, w. A split has ⌊p·w/64⌋·groups in the
            stage of p planes, which are ``base_channels``, and twice and four times as many. Defaults to 24.
        groups (int): Groups of the 3×3 convolutions (cardinality, c). Defaults to 6.
        first_block (str): The first block of each stage. 'grouped': no splits, one 3×3 over all s·c·w channels in s·c
            groups, as in the paper's Table 4. 'stage': the stage block of the ImageNet models, which adds nothing
            between its splits and pools the last one. With ``scales=1`` they are the same. Defaults to 'grouped'.
        base_channels (int): Channels of the stem, and planes of the first stage, whose output has 4 times as many.
            Defaults to 64.
        se_reduction (int): Channels per hidden unit of a squeeze-and-excitation in every block, at most those of the
            first stage; the paper's SE rows do not say theirs, SENet's is 16; 0 for none. Defaults to 0.
        in_channels (int): Channels of the image; for public weights, which are of 3, see ``adapt_in_channels`` of
            :class:`~.PretrainedModule`. Defaults to 3.
        out_indices (Sequence[int]): Stages whose outputs are returned. Defaults to (0, 1, 2).
        frozen_stages (int): Stages that are not trained: -1 none, 0 the stem, k the stem and the first k stages.
            Defaults to -1.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        norm_eval (bool): Keep batch norms in eval mode while training. Defaults to False.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant checkpointing): less memory, more time,
            the same gradients and running statistics. Defaults to False.
        init_cfg (dict | list[dict] | None): mmengine's initialisation. ``dict(type='Pretrained', checkpoint=...)``
            fails unless every weight of the backbone is in the checkpoint. Defaults to None: Kaiming for convolutions,
            ones for norms.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.

    Example:
        >>> import torch
        >>> from res2net_mm import CifarRes2NeXt
        >>> [tuple(out.shape) for out in CifarRes2NeXt()(torch.rand(1, 3, 32, 32))]
        [(1, 256, 32, 32), (1, 512, 16, 16), (1, 1024, 8, 8)]
    """

    stage_strides = (1, 2, 4)

    @checked(RULES, REPLACED_OF_BACKBONES)
    def __init__(self,
                 depth: int = 29,
                 scales: int = 4,
                 base_width: int = 24,
                 groups: int = 6,
                 base_channels: int = 64,
                 first_block: str = 'grouped',
                 se_reduction: int = 0,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2),
                 frozen_stages: int = -1,
                 norm_cfg: dict = BN,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval, False, init_cfg)
        self.variant = f'CIFAR Res2NeXt-{depth} {groups}c{base_width}w{scales}s'

        self.conv1 = build_conv(None, in_channels, base_channels, 3)
        self.bn1 = build_norm(norm_cfg, base_channels)
        self.relu = nn.ReLU(inplace=True)
        self.stage_channels = tuple(4 * base_channels * 2**i for i in range(3))
        channels = base_channels
        for i, (out_channels, stage_stride) in enumerate(zip(self.stage_channels, (1, 2, 2))):
            width = out_channels // 4 * base_width // 64 * groups
            blocks = []
            for b in range((depth - 2) // 9):
                stride = stage_stride if b == 0 else 1
                merged = scales if b == 0 and first_block == 'grouped' else 1  # splits that become groups of one 3×3
                blocks.append(
                    Bottle2neck(
                        channels,
                        out_channels,
                        width * merged,
                        scales=scales // merged,
                        groups=groups * merged,
                        stride=stride,
                        stage_block=b == 0,
                        downsample=make_shortcut(channels, out_channels, stride, avg_down=False, norm_cfg=norm_cfg),
                        se_reduction=se_reduction,
                        norm_cfg=norm_cfg,
                        with_cp=with_cp))
                channels = out_channels
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self._freeze_stages()

    @property
    def stem_modules(self) -> list[nn.Module]:
        """The layers before ``layer1``."""
        return [self.conv1, self.bn1]

    def forward_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, base_channels, h, w)."""
        return self.relu(self.bn1(self.conv1(x)))
