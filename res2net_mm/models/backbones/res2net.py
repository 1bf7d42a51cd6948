"""ResNet-shaped backbones around the Res2Net block: the paper's models and their baselines, by name."""
from __future__ import annotations

import math
from functools import partial
from typing import Any, Sequence

from torch import Tensor, nn

from ...registry import MODELS
from ..layers.argument_names import REPLACED_OF_RES2NET
from ..layers.arguments import Arguments, Flag, Flags, Integer, Integers, OneOf, OrNone, OrSameAs, checked
from ..layers.bottle2neck import BN, PLUGIN_POSITIONS, STAGE_POOLS, Bottle2neck, make_shortcut
from ..layers.build import build_conv, build_norm
from ..layers.config_rules import ArchitectureName, DeformableConfig, LayerConfig, OrAsArch, Plugins
from .base import COMMON_RULES, MOST_SCALES, Backbone

STAGE_BLOCKS = {  # depth: blocks of each stage; 26 is for tests and demos
    26: (2, 2, 2, 2),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}
AUTHORS_STEM = {'conv1': slice(7), 'bn1': 7, 'relu': 8}  # what of the deep stem's layers the authors call so


def num_stages(arguments: Arguments) -> int:
    """The number of stages, for rules that depend on it."""
    return arguments['num_stages']


def block_dilations(blocks: int, dilation: int, contract: bool) -> list[int]:
    """The dilation of every block of a stage; ``contract`` halves the first one."""
    return [max(dilation // 2, 1) if contract else dilation] + [dilation] * (blocks - 1)


RULES = dict(
    arch=ArchitectureName('res2net_mm.Res2Net'),
    depth=OrAsArch(OneOf(*STAGE_BLOCKS)),
    scales=OrAsArch(Integer(1, MOST_SCALES)),
    base_channels=Integer(1),
    base_width=OrAsArch(Integer(
        1, where=lambda width, arguments: width * arguments['base_channels'] >= 64,
        what=lambda arguments: f'at least {-(-64 // arguments["base_channels"])}, or splits of the first stage '
        f'({arguments["base_channels"]} planes) have no channels')),
    groups=OrAsArch(Integer(1)),
    deep_stem=OrAsArch(Flag()),
    stem_channels=OrSameAs('base_channels', Integer(lambda arguments: 2 if arguments['deep_stem'] else 1)),
    num_stages=Integer(1, 4),
    strides=Integers(Integer(1), length=num_stages),
    dilations=Integers(Integer(1), length=num_stages),
    out_indices=Integers(Integer(0, lambda arguments: arguments['num_stages'] - 1, words=('stem', )), distinct=True),
    style=OneOf('pytorch', 'caffe'),
    avg_down=OrAsArch(Flag()),
    se_reduction=OrAsArch(Integer(0, lambda arguments: 4 * arguments['base_channels'])),
    stage_pool=OrAsArch(OneOf(*STAGE_POOLS)),
    contract_dilation=Flag(),
    multi_grid=OrNone(Integers(
        Integer(1), length=lambda arguments: STAGE_BLOCKS[arguments['depth']][arguments['num_stages'] - 1])),
    dcn=OrNone(DeformableConfig("dict(type='DCNv2', deform_groups=1)")),
    stage_with_dcn=Flags(lambda arguments: arguments['num_stages'] if arguments['dcn'] else None),
    plugins=Plugins(PLUGIN_POSITIONS),
    frozen_stages=Integer(-1, num_stages),
    conv_cfg=OrNone(LayerConfig("dict(type='Conv2d')")),
    zero_init_residual=Flag(),
    **COMMON_RULES,
)


@MODELS.register_module()
class Res2Net(Backbone):
    """Res2Net: ResNet with :class:`Bottle2neck` blocks (paper section 4.1).

    The defaults give the paper's Res2Net-50 v1, 26w×4s; ``models/names.py`` lists the variants. What ``arch`` says
    about an argument holds unless the argument itself is given.

    Args:
        arch (str): A name or an alias in ``models/names.py``; case, hyphens and underscores do not matter. Defaults to
            'res2net50_26w4s'.
        depth (int | None): 26, 50, 101, 152 or 200 layers. Defaults to None, as ``arch``.
        scales (int | None): Splits of a block, s, at most 256; 1: ResNet or ResNeXt. Defaults to None, as ``arch``.
        base_width (int | None): Channels of one split (of one group, if grouped) in a stage of 64 planes, w. A stage of
            p planes has ⌊p·w/64⌋·groups, so that a change of ``base_channels`` scales the whole net. Defaults to None,
            as ``arch``.
        groups (int | None): Groups of the 3×3 convolutions (cardinality). Defaults to None, as ``arch``.
        in_channels (int): Channels of the image; for public weights, which are of 3, see ``adapt_in_channels`` of
            :class:`~.PretrainedModule`. Defaults to 3.
        stem_channels (int | None): Channels of the stem. Defaults to None, ``base_channels``.
        base_channels (int): Planes of the first stage; its output has 4 times as many channels. Defaults to 64.
        num_stages (int): Stages, 1 to 4. Defaults to 4.
        strides (Sequence[int]): Stride of the first block of each stage. Defaults to (1, 2, 2, 2).
        dilations (Sequence[int]): Dilation of all 3×3 convolutions of each stage. Defaults to (1, 1, 1, 1).
        out_indices (Sequence[int | str]): Stages whose outputs are returned; 'stem' is the feature after the stem's
            last ReLU, before the max pooling: (n, stem_channels, h/2, w/2), the first of the outputs. Defaults to
            (0, 1, 2, 3).
        style (str): 'pytorch' puts a stage's stride on the 3×3 convolutions, 'caffe' on the 1×1 before them; all public
            Res2Net weights are 'pytorch'. Defaults to 'pytorch'.
        deep_stem (bool | None): Three 3×3 convolutions instead of one 7×7 in the stem. Defaults to None, as ``arch``.
        avg_down (bool | None): Average pooling and a 1×1 instead of a strided 1×1 in the shortcuts. Defaults to None,
            as ``arch``.
        se_reduction (int | None): Channels per hidden unit of a squeeze-and-excitation at the end of every block (paper
            3.3; SENet has 16); 0 for none. Defaults to None, as ``arch``.
        contract_dilation (bool): Halve the dilation of the first block of a dilated stage. Defaults to False.
        multi_grid (Sequence[int] | None): Dilations of the blocks of the last stage, one by one, instead of that
            stage's entry in ``dilations``. Defaults to None.
        dcn (dict | None): mmcv config of deformable convolutions, such as ``dict(type='DCNv2', deform_groups=1)``, for
            the 3×3 of the stages in ``stage_with_dcn``. Defaults to None.
        stage_with_dcn (Sequence[bool]): Stages with deformable convolutions. Defaults to none.
        plugins (Sequence[dict]): Layers to insert into blocks: ``cfg``, their mmcv config; ``position``, one of
            'after_conv1', 'after_conv2' and 'after_conv3'; ``stages``, a bool for each, by default all; ``postfix``, to
            tell several of a kind apart. Defaults to ().
        stage_pool (str | None): The function of the first block of a stage, which the weights were trained as.
            'always': it adds nothing between its splits and pools the last one, in the official ImageNet weights.
            'strided': it pools only if it has a stride, in mmdet's ``Res2Net`` and the detectors trained there.
            'strided_hierarchical': without a stride it is an ordinary block; with one it adds nothing and pools, and
            the average does not count the padding, in the weights of PaddleClas. Defaults to None, as ``arch``:
            'always', except for the ``_vd_`` variants, which are PaddleClas's.
        frozen_stages (int): Stages that are not trained: -1 none, 0 the stem, k the stem and the first k stages.
            Defaults to -1.
        conv_cfg (dict | None): mmcv config of the convolutions. Defaults to None, Conv2d.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        norm_eval (bool): Keep batch norms in eval mode while training. Defaults to False.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant checkpointing): less memory, more time,
            the same gradients and running statistics. Defaults to False.
        zero_init_residual (bool): Start with the last norm of every block at zero; no effect on pretrained weights.
            Defaults to False.
        init_cfg (dict | list[dict] | None): mmengine's initialisation. ``dict(type='Pretrained', checkpoint=...)``
            takes a path, a URL or a name such as 'res2net_mm://res2net50_26w4s', and fails unless every weight of the
            backbone is in it. Defaults to None: Kaiming for convolutions, ones for norms.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.

    Example:
        >>> import torch
        >>> from res2net_mm import Res2Net
        >>> [tuple(out.shape) for out in Res2Net(depth=50)(torch.rand(1, 3, 64, 64))]
        [(1, 256, 16, 16), (1, 512, 8, 8), (1, 1024, 4, 4), (1, 2048, 2, 2)]
    """

    stage_blocks = STAGE_BLOCKS
    expansion = 4
    stem_stride = 2

    @checked(RULES, REPLACED_OF_RES2NET)
    def __init__(self,
                 arch: str = 'res2net50_26w4s',
                 depth: int | None = None,
                 scales: int | None = None,
                 base_width: int | None = None,
                 groups: int | None = None,
                 in_channels: int = 3,
                 stem_channels: int | None = None,
                 base_channels: int = 64,
                 num_stages: int = 4,
                 strides: Sequence[int] = (1, 2, 2, 2),
                 dilations: Sequence[int] = (1, 1, 1, 1),
                 out_indices: Sequence[int | str] = (0, 1, 2, 3),
                 style: str = 'pytorch',
                 deep_stem: bool | None = None,
                 avg_down: bool | None = None,
                 se_reduction: int | None = None,
                 stage_pool: str | None = None,
                 contract_dilation: bool = False,
                 multi_grid: Sequence[int] | None = None,
                 dcn: dict | None = None,
                 stage_with_dcn: Sequence[bool] = (False, False, False, False),
                 plugins: Sequence[dict] = (),
                 frozen_stages: int = -1,
                 conv_cfg: dict | None = None,
                 norm_cfg: dict = BN,
                 norm_eval: bool = False,
                 with_cp: bool = False,
                 zero_init_residual: bool = False,
                 init_cfg: dict | list[dict] | None = None) -> None:
        # ``checked`` has put what stands for them in the place of these arguments' None.
        assert depth is not None and scales is not None and base_width is not None and groups is not None
        assert stem_channels is not None and deep_stem is not None and avg_down is not None and se_reduction is not None
        assert stage_pool is not None
        super().__init__(out_indices, frozen_stages, norm_eval, zero_init_residual, init_cfg)
        self.variant = f'Res2Net-{depth} {base_width}w{scales}s'
        self.deep_stem, self.stem_channels, self.stage_pool = deep_stem, stem_channels, stage_pool
        self.stage_channels = [base_channels * 2**i * self.expansion for i in range(num_stages)]
        self.stage_strides = [4 * math.prod(strides[:i + 1]) for i in range(num_stages)]

        self._make_stem(in_channels, conv_cfg, norm_cfg)
        channels = stem_channels
        for i in range(num_stages):
            blocks_dilations = block_dilations(STAGE_BLOCKS[depth][i], dilations[i], contract_dilation)
            if multi_grid is not None and i == num_stages - 1:
                blocks_dilations = list(multi_grid)
            make_block = partial(
                Bottle2neck, out_channels=self.stage_channels[i],
                width=base_channels * 2**i * base_width // 64 * groups, scales=scales, groups=groups, style=style,
                stage_pool=stage_pool, se_reduction=se_reduction,
                dcn=dcn if dcn and stage_with_dcn[i] else None,
                plugins=[plugin for plugin in plugins if plugin.get('stages', (True, ) * num_stages)[i]],
                conv_cfg=conv_cfg, norm_cfg=norm_cfg, with_cp=with_cp)
            shortcut = make_shortcut(channels, self.stage_channels[i], strides[i], avg_down, conv_cfg, norm_cfg)
            first = make_block(channels, stride=strides[i], dilation=blocks_dilations[0], stage_block=True,
                               downsample=shortcut)
            channels = self.stage_channels[i]
            others = [make_block(channels, dilation=dilation) for dilation in blocks_dilations[1:]]
            self.add_module(f'layer{i + 1}', nn.Sequential(first, *others))
        self._freeze_stages()

    def _make_stem(self, in_channels: int, conv_cfg: dict | None, norm_cfg: dict) -> None:
        """7×7 (v1), or three 3×3 (v1b) under mmdet's names; both followed by the max pooling to stride 4."""
        channels, half = self.stem_channels, self.stem_channels // 2
        if self.deep_stem:
            self.stem = nn.Sequential(
                build_conv(conv_cfg, in_channels, half, 3, stride=2), build_norm(norm_cfg, half), nn.ReLU(inplace=True),
                build_conv(conv_cfg, half, half, 3), build_norm(norm_cfg, half), nn.ReLU(inplace=True),
                build_conv(conv_cfg, half, channels, 3), build_norm(norm_cfg, channels), nn.ReLU(inplace=True))
        else:
            self.conv1 = build_conv(conv_cfg, in_channels, channels, 7, stride=2)
            self.bn1 = build_norm(norm_cfg, channels)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def __getattr__(self, name: str) -> Any:
        """The parts of a deep stem also as the authors' v1b code names them, for models that call them one by one."""
        stem = self.__dict__.get('_modules', {}).get('stem')
        if name in AUTHORS_STEM and stem is not None:
            return stem[AUTHORS_STEM[name]]
        return super().__getattr__(name)

    @property
    def stem_modules(self) -> list[nn.Module]:
        """The modules with weights before ``layer1``."""
        return [self.stem] if self.deep_stem else [self.conv1, self.bn1]

    def forward_stem(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, stem_channels, h/2, w/2)."""
        return self.stem(x) if self.deep_stem else self.relu(self.bn1(self.conv1(x)))

    def after_stem(self, x: Tensor) -> Tensor:
        """(n, stem_channels, h/2, w/2) -> (n, stem_channels, h/4, w/4)."""
        return self.maxpool(x)
