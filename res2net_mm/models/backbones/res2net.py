"""ResNet-shaped backbones around the Res2Net block: the paper's models and their baselines, by name."""
import math

import torch.nn as nn
from mmcv.cnn import build_conv_layer

from ...registry import MODELS
from ..layers.arguments import ArgumentChecks
from ..layers.bottle2neck import BN, PLUGIN_POSITIONS, Bottle2neck, make_shortcut, norm
from .base import Backbone

# What distinguishes a variant; the rest is DEFAULT_ARCH. Section 4 and tables 1-3 of the paper, and the official v1b.
DEFAULT_ARCH = dict(depth=50, scales=4, base_width=26, groups=1, deep_stem=False, avg_down=False, se_reduction=0)
V1B = dict(deep_stem=True, avg_down=True)
ARCHS = {
    'res2net50_26w4s': {},
    'res2net50_48w2s': dict(base_width=48, scales=2),
    'res2net50_14w8s': dict(base_width=14, scales=8),
    'res2net50_26w6s': dict(scales=6),
    'res2net50_26w8s': dict(scales=8),
    'res2net50_18w4s': dict(base_width=18),  # the paper's Res2Net-50-L
    'res2net50_18w6s': dict(base_width=18, scales=6),
    'res2net101_26w4s': dict(depth=101),
    'res2net152_26w4s': dict(depth=152),
    'res2net200_26w4s': dict(depth=200),
    'res2net50_v1b_26w4s': V1B,
    'res2net101_v1b_26w4s': dict(depth=101, **V1B),
    'res2net152_v1b_26w4s': dict(depth=152, **V1B),
    'res2next50_8c4w4s': dict(base_width=4, groups=8),
    'se_res2net50_26w4s': dict(se_reduction=16),
    # the baselines of the same tables
    'resnet50': dict(base_width=64, scales=1),
    'resnet101': dict(depth=101, base_width=64, scales=1),
    'resnext50_32x4d': dict(base_width=4, groups=32, scales=1),
    'se_resnet50': dict(base_width=64, scales=1, se_reduction=16),
}
ALIASES = {  # the names of timm and of the paper
    'res2net50_26w_4s': 'res2net50_26w4s',
    'res2net50_48w_2s': 'res2net50_48w2s',
    'res2net50_14w_8s': 'res2net50_14w8s',
    'res2net50_26w_6s': 'res2net50_26w6s',
    'res2net50_26w_8s': 'res2net50_26w8s',
    'res2net101_26w_4s': 'res2net101_26w4s',
    'res2net50d': 'res2net50_v1b_26w4s',
    'res2net101d': 'res2net101_v1b_26w4s',
    'res2next50': 'res2next50_8c4w4s',
    'Res2Net-50': 'res2net50_26w4s',
    'Res2Net-50-L': 'res2net50_18w4s',
    'Res2Net-101': 'res2net101_26w4s',
    'Res2NeXt-50': 'res2next50_8c4w4s',
    'SE-Res2Net-50': 'se_res2net50_26w4s',
    'ResNet-50': 'resnet50',
    'ResNet-101': 'resnet101',
    'ResNeXt-50': 'resnext50_32x4d',
    'SENet-50': 'se_resnet50',
}


@MODELS.register_module()
class Res2Net(Backbone):
    """Res2Net: ResNet with :class:`Bottle2neck` blocks (paper section 4.1).

    The defaults give the paper's Res2Net-50 v1, 26w×4s; ``ARCHS`` lists the variants by name. What ``arch`` says about
    an argument holds unless the argument itself is given.

    Args:
        arch (str): A key of ``ARCHS`` or an alias of one. Defaults to 'res2net50_26w4s'.
        depth (int | None): 26, 50, 101, 152 or 200 layers. Defaults to None, as ``arch``.
        scales (int | None): Splits of a block, s; 1 gives ResNet or ResNeXt. Defaults to None, as ``arch``.
        base_width (int | None): Channels of one split (of one group, if grouped) in a stage of 64 planes, w. A stage of
            p planes has ⌊p·w/64⌋·groups, so that a change of ``base_channels`` scales the whole net. Defaults to None,
            as ``arch``.
        groups (int | None): Groups of the 3×3 convolutions (cardinality). Defaults to None, as ``arch``.
        in_channels (int): Channels of the image. Defaults to 3.
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
        stage_pool (str): When the first block of a stage pools its last split. 'always' is the function that all
            ImageNet weights were trained as; 'strided', only at stride 2, is what mmdet's ``Res2Net`` computes, and
            what detectors trained there need. Defaults to 'always'.
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

    stage_blocks = {  # depth: blocks of each stage; 26 is for tests and demos
        26: (2, 2, 2, 2),
        50: (3, 4, 6, 3),
        101: (3, 4, 23, 3),
        152: (3, 8, 36, 3),
        200: (3, 24, 36, 3),
    }
    expansion = 4
    stem_stride = 2

    def __init__(self,
                 arch='res2net50_26w4s',
                 depth=None,
                 scales=None,
                 base_width=None,
                 groups=None,
                 in_channels=3,
                 stem_channels=None,
                 base_channels=64,
                 num_stages=4,
                 strides=(1, 2, 2, 2),
                 dilations=(1, 1, 1, 1),
                 out_indices=(0, 1, 2, 3),
                 style='pytorch',
                 deep_stem=None,
                 avg_down=None,
                 se_reduction=None,
                 stage_pool='always',
                 contract_dilation=False,
                 multi_grid=None,
                 dcn=None,
                 stage_with_dcn=(False, False, False, False),
                 plugins=(),
                 frozen_stages=-1,
                 conv_cfg=None,
                 norm_cfg=BN,
                 norm_eval=False,
                 with_cp=False,
                 zero_init_residual=False,
                 init_cfg=None):
        check = ArgumentChecks('Res2Net')
        check.choice('arch', arch, (*ARCHS, *ALIASES))
        given = dict(depth=depth, scales=scales, base_width=base_width, groups=groups, deep_stem=deep_stem,
                     avg_down=avg_down, se_reduction=se_reduction)
        values = {**DEFAULT_ARCH, **ARCHS[ALIASES.get(arch, arch)], **{k: v for k, v in given.items() if v is not None}}
        depth, scales, base_width, groups, deep_stem, avg_down, se_reduction = (values[name] for name in given)
        check.choice('depth', depth, tuple(self.stage_blocks))
        for name, value in dict(scales=scales, base_width=base_width, groups=groups, in_channels=in_channels,
                                base_channels=base_channels).items():
            check.integer(name, value, 1)
        check.integer('num_stages', num_stages, 1, 4)
        stem_channels = base_channels if stem_channels is None else stem_channels
        check.integer('stem_channels', stem_channels, 2 if deep_stem else 1)
        check.integer('se_reduction', se_reduction, 0, 4 * base_channels)
        check.integers('strides', strides, num_stages, 1)
        check.integers('dilations', dilations, num_stages, 1)
        check.integers('out_indices', out_indices, None, 0, num_stages - 1, words=('stem', ))
        check.integer('frozen_stages', frozen_stages, -1, num_stages)
        check.choice('style', style, ('pytorch', 'caffe'))
        check.choice('stage_pool', stage_pool, ('always', 'strided'))
        for name, value in dict(deep_stem=deep_stem, avg_down=avg_down, contract_dilation=contract_dilation,
                                norm_eval=norm_eval, with_cp=with_cp, zero_init_residual=zero_init_residual).items():
            check.choice(name, value, (True, False))
        check.layer('norm_cfg', norm_cfg)
        if dcn is not None:
            check.layer('dcn', dcn)
            check.flags('stage_with_dcn', stage_with_dcn, num_stages)
        for i, plugin in enumerate(plugins):
            check.layer(f'plugins[{i}].cfg', plugin.get('cfg'))
            check.choice(f'plugins[{i}].position', plugin.get('position'), PLUGIN_POSITIONS)
            check.flags(f'plugins[{i}].stages', plugin.get('stages', (True, ) * num_stages), num_stages)
        num_blocks = self.stage_blocks[depth][:num_stages]
        if multi_grid is not None:
            check.integers('multi_grid', multi_grid, num_blocks[-1], 1)
        widths = [base_channels * 2**i * base_width // 64 * groups for i in range(num_stages)]
        if not widths[0]:
            check.fail('base_width', base_width, f'at least {-(-64 // base_channels)}, or splits of the first stage '
                       f'({base_channels} planes) have no channels')

        super().__init__(out_indices, frozen_stages, norm_eval, zero_init_residual, init_cfg)
        self.variant = f'Res2Net-{depth} {base_width}w{scales}s'
        self.deep_stem = deep_stem
        self.stem_channels = stem_channels
        self.stage_channels = [base_channels * 2**i * self.expansion for i in range(num_stages)]
        self.stage_strides = [4 * math.prod(strides[:i + 1]) for i in range(num_stages)]

        self._make_stem(in_channels, stem_channels, conv_cfg, norm_cfg)
        channels = stem_channels
        for i in range(num_stages):
            out_channels = self.stage_channels[i]
            block_dilations = [dilations[i]] * num_blocks[i]
            if contract_dilation and dilations[i] > 1:
                block_dilations[0] //= 2
            if multi_grid is not None and i == num_stages - 1:
                block_dilations = multi_grid
            blocks = []
            for b, dilation in enumerate(block_dilations):
                stride = strides[i] if b == 0 else 1
                blocks.append(
                    Bottle2neck(
                        channels,
                        out_channels,
                        widths[i],
                        scales=scales,
                        groups=groups,
                        stride=stride,
                        dilation=dilation,
                        style=style,
                        stage_block=b == 0,
                        stage_pool=stage_pool,
                        downsample=make_shortcut(channels, out_channels, stride, avg_down, conv_cfg, norm_cfg),
                        se_reduction=se_reduction,
                        dcn=dcn if dcn and stage_with_dcn[i] else None,
                        plugins=[plugin for plugin in plugins if plugin.get('stages', (True, ) * num_stages)[i]],
                        conv_cfg=conv_cfg,
                        norm_cfg=norm_cfg,
                        with_cp=with_cp))
                channels = out_channels
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self._freeze_stages()

    def _make_stem(self, in_channels, channels, conv_cfg, norm_cfg):
        """7×7 (v1), or three 3×3 (v1b) under mmdet's names; both followed by the max pooling to stride 4."""

        def conv(i, o, kernel_size, stride):
            return build_conv_layer(conv_cfg, i, o, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)

        if self.deep_stem:
            half = channels // 2
            self.stem = nn.Sequential(
                conv(in_channels, half, 3, 2), norm(norm_cfg, half), nn.ReLU(inplace=True),
                conv(half, half, 3, 1), norm(norm_cfg, half), nn.ReLU(inplace=True),
                conv(half, channels, 3, 1), norm(norm_cfg, channels), nn.ReLU(inplace=True))
        else:
            self.conv1 = conv(in_channels, channels, 7, 2)
            self.bn1 = norm(norm_cfg, channels)
            self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    @property
    def stem_modules(self):
        """list[nn.Module]: The modules with weights before ``layer1``."""
        return [self.stem] if self.deep_stem else [self.conv1, self.bn1]

    def forward_stem(self, x):
        """(n, in_channels, h, w) -> (n, stem_channels, h/2, w/2)."""
        return self.stem(x) if self.deep_stem else self.relu(self.bn1(self.conv1(x)))

    def after_stem(self, x):
        """(n, stem_channels, h/2, w/2) -> (n, stem_channels, h/4, w/4)."""
        return self.maxpool(x)
