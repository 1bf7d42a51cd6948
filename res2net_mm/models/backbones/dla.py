"""DLA-60: the Res2Net block in a trunk that aggregates its blocks in trees.

Source: Res2Net paper, section 4.1 (Res2Net-DLA-60 and Res2NeXt-DLA-60), on *Deep Layer Aggregation*, arXiv 1707.06484.
One detail differs from ResNet trunks: only blocks with stride 2 are stage blocks.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Callable, Sequence

import torch
from torch import Tensor, nn

from ...registry import MODELS
from ..layers.argument_names import REPLACED_OF_BACKBONES
from ..layers.arguments import Integer, Integers, OrNone, checked
from ..layers.bottle2neck import BN, Bottle2neck
from ..layers.build import build_conv, build_norm
from ..layers.config_rules import ArchitectureName, LayerConfig, OrAsArch
from .base import COMMON_RULES, MOST_SCALES, Backbone

LEVELS = (1, 1, 1, 2, 3, 1)  # level0 and level1: convolutions; level2 .. level5: height of the tree, 2^height blocks
CHANNELS = (16, 32, 128, 256, 512, 1024)  # of each level's output
RULES = dict(
    arch=ArchitectureName('res2net_mm.DLA'),
    scales=OrAsArch(Integer(1, MOST_SCALES)),
    base_width=OrAsArch(Integer(1)),
    groups=OrAsArch(Integer(1)),
    out_indices=Integers(Integer(0, 3), distinct=True),
    frozen_stages=Integer(-1, 4),
    conv_cfg=OrNone(LayerConfig("dict(type='Conv2d')")),
    **COMMON_RULES,
)


@MODELS.register_module()
class DLA(Backbone):
    """DLA-60 with :class:`Bottle2neck` blocks (paper section 4.1).

    Official models also hold projections whose result nothing uses (of level3, level4 and level4.tree1); they are not
    built here, nor in timm, so that every parameter gets a gradient, which distributed training needs.

    The defaults give the paper's Res2Net-DLA-60. ``arch`` sets ``scales``, ``base_width`` and ``groups``:

    ================== ====== ========== ====== ================
    arch               scales base_width groups
    ================== ====== ========== ====== ================
    'dla60'            1      64         1      DLA-60
    'dla60x'           1      4          32     DLA-X-60
    'dla60_res2net'    4      28         1      Res2Net-DLA-60
    'dla60_res2next'   4      4          8      Res2NeXt-DLA-60
    ================== ====== ========== ====== ================

    Stage i, 0 to 3, is ``level{i + 2}``; ``level0`` and ``level1`` belong to the stem.

    Args:
        arch (str): Sets the three following arguments, see above. Defaults to 'dla60_res2net'.
        scales (int | None): Splits of a block, s, at most 256; 1 gives DLA. Defaults to None, the architecture's.
        base_width (int | None): Channels of one split (of one group, if grouped) in a stage of 64 planes, w. A stage
            of p planes, 64 to 512, has ⌊p·w/64⌋·groups, as in :class:`Res2Net`. Defaults to None, the architecture's.
        groups (int | None): Groups of the blocks' 3×3 convolutions (cardinality). Defaults to None, the architecture's.
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
        init_cfg (dict | list[dict] | None): mmengine's initialisation. ``dict(type='Pretrained', checkpoint=...)``
            takes a path or a URL, and fails unless every weight of the backbone is in it. Keys as the official
            repositories and timm name them are recognised. Defaults to None: Kaiming for convolutions, ones for norms.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.

    Example:
        >>> import torch
        >>> from res2net_mm import DLA
        >>> [tuple(out.shape) for out in DLA('dla60_res2net')(torch.rand(1, 3, 64, 64))]
        [(1, 128, 16, 16), (1, 256, 8, 8), (1, 512, 4, 4), (1, 1024, 2, 2)]
    """

    expansion = 2
    stage_channels = CHANNELS[2:]
    stage_strides = (4, 8, 16, 32)

    @checked(RULES, REPLACED_OF_BACKBONES)
    def __init__(self,
                 arch: str = 'dla60_res2net',
                 scales: int | None = None,
                 base_width: int | None = None,
                 groups: int | None = None,
                 in_channels: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 frozen_stages: int = -1,
                 conv_cfg: dict | None = None,
                 norm_cfg: dict = BN,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        # ``checked`` has put the architecture's in the place of None.
        assert scales is not None and base_width is not None and groups is not None
        super().__init__(out_indices, frozen_stages, norm_eval, False, init_cfg)
        self.variant = f'DLA-60 {groups}c{base_width}w{scales}s'

        def conv(i: int, o: int, kernel_size: int, stride: int) -> tuple[nn.Module, ...]:
            return build_conv(conv_cfg, i, o, kernel_size, stride), build_norm(norm_cfg, o), nn.ReLU(inplace=True)

        def block(i: int, o: int, stride: int) -> Bottle2neck:
            width = o // self.expansion * base_width // 64 * groups
            return Bottle2neck(i, o, width, scales=scales, groups=groups, stride=stride, stage_block=stride > 1,
                               conv_cfg=conv_cfg, norm_cfg=norm_cfg, with_cp=with_cp)

        self.base_layer = nn.Sequential(*conv(in_channels, CHANNELS[0], 7, 1))
        self.level0 = nn.Sequential(*conv(CHANNELS[0], CHANNELS[0], 3, 1))
        self.level1 = nn.Sequential(*conv(CHANNELS[0], CHANNELS[1], 3, 2))
        for i in range(2, 6):
            tree = Tree(LEVELS[i], CHANNELS[i - 1], CHANNELS[i], block, conv, stride=2, aggregates_input=i > 2)
            self.add_module(f'level{i}', tree)
        self._freeze_stages()

    @property
    def stem_modules(self) -> list[nn.Module]:
        """The modules before ``level2``."""
        return [self.base_layer, self.level0, self.level1]

    @property
    def stages(self) -> list[nn.Module]:
        """The trees ``level2`` .. ``level5``."""
        return [self.level2, self.level3, self.level4, self.level5]

    def forward_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, 32, h/2, w/2)."""
        return self.level1(self.level0(self.base_layer(x)))


class Tree(nn.Module):
    """A binary tree whose leaves are blocks, run from left to right.

    Two blocks are merged by the ``root`` of the tree of height 1 that they form: a 1×1 convolution over their outputs.
    The last root of a higher tree also sees what is handed down to it: the output of every left subtree beside its
    way, and, with ``aggregates_input``, the pooled input.

    Args:
        height (int): 1 for two blocks and a root, h for two trees of height h - 1.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of every block and of the output.
        block (Callable): Makes a block from its in_channels, out_channels and stride.
        conv (Callable): Makes convolution, norm and ReLU from in_channels, out_channels, kernel size and stride.
        stride (int): Stride of the first block. Defaults to 1.
        aggregates_input (bool): Whether the last root sees the input of this tree. Defaults to False.
        handed_channels (int): Channels of what the ancestors hand down to the last root. Defaults to 0.
    """

    def __init__(self,
                 height: int,
                 in_channels: int,
                 out_channels: int,
                 block: Callable[[int, int, int], nn.Module],
                 conv: Callable[[int, int, int, int], tuple[nn.Module, ...]],
                 stride: int = 1,
                 aggregates_input: bool = False,
                 handed_channels: int = 0) -> None:
        super().__init__()
        self.height = height
        self.aggregates_input = aggregates_input
        handed_channels += in_channels if aggregates_input else 0
        # Rounds up as the strided convolutions do, for images whose sides are not multiples of 32.
        self.pool = nn.MaxPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        if height > 1:
            self.tree1 = Tree(height - 1, in_channels, out_channels, block, conv, stride)
            self.tree2 = Tree(height - 1, out_channels, out_channels, block, conv,
                              handed_channels=handed_channels + out_channels)
            return
        self.project = None
        if in_channels != out_channels:
            self.project = nn.Sequential(*conv(in_channels, out_channels, 1, 1)[:2])  # without the ReLU
        self.tree1 = block(in_channels, out_channels, stride)
        self.tree2 = block(out_channels, out_channels, 1)
        aggregate = conv(2 * out_channels + handed_channels, out_channels, 1, 1)
        self.root = nn.Sequential(OrderedDict(zip(('conv', 'bn', 'relu'), aggregate)))

    def forward(self, x: Tensor, handed: Sequence[Tensor] = ()) -> Tensor:
        """Run the tree.

        Args:
            x (Tensor): (n, in_channels, h, w).
            handed (Sequence[Tensor]): What the ancestors hand down, each (n, c, h / stride, w / stride) and
                ``handed_channels`` together. Defaults to ().

        Returns:
            Tensor: (n, out_channels, h / stride, w / stride).
        """
        pooled = self.pool(x) if self.aggregates_input or self.height == 1 else None
        if self.aggregates_input:
            handed = [*handed, pooled]
        if self.height > 1:
            x1 = self.tree1(x)
            return self.tree2(x1, [*handed, x1])
        x1 = self.tree1(x, identity=pooled if self.project is None else self.project(pooled))
        x2 = self.tree2(x1)
        return self.root(torch.cat([x2, x1, *handed], dim=1))
