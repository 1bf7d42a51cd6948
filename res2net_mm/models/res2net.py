"""The Res2Net block, written once, and the ResNet-shaped backbones around it.

Source: *Res2Net: A New Multi-scale Backbone Architecture*, arXiv 1904.01169, section 3. Two details follow the released
ImageNet weights where the paper is silent or differs: the **last** split is the one that is passed on unchanged (the
paper's Eq. 1 says the first: the same up to the order of channels), and the first block of every stage adds nothing
between splits and average-pools the last one.
"""
import logging
from contextlib import contextmanager, nullcontext

import torch
import torch.nn as nn
from mmcv.cnn import build_conv_layer, build_norm_layer, build_plugin_layer
from mmengine.logging import print_log
from mmengine.model import BaseModule, PretrainedInit
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..checkpoint import adapt_state_dict
from ..registry import MODELS

BN = dict(type='BN', requires_grad=True)
PLUGIN_POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


class Bottle2neck(nn.Module):
    """A bottleneck whose 3×3 convolution is a hierarchy over ``scales`` splits (paper Fig. 2b, Eq. 1).

    With u = ReLU(BN(conv1(x))) cut into splits u_1..u_s and K_i = ReLU∘BN∘conv3×3::

        y_1 = K_1(u_1);  y_i = K_i(u_i + y_{i-1}) for 1 < i < s;  y_s = u_s
        out = ReLU(SE(BN(conv3([y_1 .. y_s]))) + shortcut(x))

    A *stage block*, the first of a stage, changes the resolution, so its splits do not match: there
    y_i = K_i(u_i), and y_s = AvgPool3×3(u_s). With ``scales=1`` it is the ResNet (ResNeXt) bottleneck.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        width (int): Channels of one split, w.
        scales (int): Number of splits, s. Defaults to 4.
        groups (int): Groups of every 3×3 convolution (the cardinality, paper 3.3). Defaults to 1.
        stride (int): Stride of the block. Defaults to 1.
        dilation (int): Dilation, and padding, of the 3×3 convolutions. Defaults to 1.
        style (str): 'pytorch' puts the stride on the 3×3 convolutions, 'caffe' on the first 1×1. Defaults to 'pytorch'.
        stage_block (bool): Whether this is the first block of a stage. Defaults to False.
        stage_pool (str): When a stage block pools its last split: 'always', or 'strided', only if the 3×3 have a
            stride. Defaults to 'always'.
        downsample (nn.Module | None): What takes the input to the output's shape; None for the identity.
            Defaults to None.
        se_reduction (int | None): Channels per hidden unit of a squeeze-and-excitation right before the addition (paper
            3.3); None for none. Defaults to None.
        last_relu (bool): Whether a ReLU follows the addition. Defaults to True.
        dcn (dict | None): mmcv config of deformable convolutions for the 3×3. Defaults to None.
        plugins (Sequence[dict]): Layers to insert: ``cfg``, and ``position``, one of 'after_conv1', 'after_conv2' (both
            of scales·width channels) and 'after_conv3'. Defaults to ().
        conv_cfg (dict | None): mmcv config of the convolutions. Defaults to None, Conv2d.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        with_cp (bool): Recompute the block in the backward pass instead of storing its activations.
            Defaults to False.
    """

    def __init__(self,
                 in_channels,
                 out_channels,
                 width,
                 scales=4,
                 groups=1,
                 stride=1,
                 dilation=1,
                 style='pytorch',
                 stage_block=False,
                 stage_pool='always',
                 downsample=None,
                 se_reduction=None,
                 last_relu=True,
                 dcn=None,
                 plugins=(),
                 conv_cfg=None,
                 norm_cfg=BN,
                 with_cp=False):
        super().__init__()
        self.width = width
        self.last_relu = last_relu
        self.stage_block = stage_block
        self.with_cp = with_cp
        conv1_stride, conv2_stride = (1, stride) if style == 'pytorch' else (stride, 1)

        self.conv1 = build_conv_layer(conv_cfg, in_channels, scales * width, 1, stride=conv1_stride, bias=False)
        self.bn1 = norm(norm_cfg, scales * width)
        hierarchy = range(max(scales - 1, 1))
        self.convs = nn.ModuleList(
            build_conv_layer(dcn or conv_cfg, width, width, 3, stride=conv2_stride, padding=dilation, dilation=dilation,
                             groups=groups, bias=False) for _ in hierarchy)
        self.bns = nn.ModuleList(norm(norm_cfg, width) for _ in hierarchy)
        pools = stage_block and scales > 1 and (stage_pool == 'always' or conv2_stride > 1)
        self.pool = nn.AvgPool2d(3, conv2_stride, padding=1) if pools else nn.Identity()
        self.conv3 = build_conv_layer(conv_cfg, scales * width, out_channels, 1, bias=False)
        self.bn3 = norm(norm_cfg, out_channels)
        self.se = squeeze_excitation(out_channels, se_reduction) if se_reduction else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.plugins = {position: [] for position in PLUGIN_POSITIONS}  # names of the layers at each position
        for plugin in plugins:
            channels = out_channels if plugin['position'] == 'after_conv3' else scales * width
            name, layer = build_plugin_layer(plugin['cfg'], in_channels=channels, postfix=plugin.get('postfix', ''))
            self.add_module(name, layer)
            self.plugins[plugin['position']].append(name)

    def forward(self, x, identity=None):
        """Run the block.

        Args:
            x (Tensor): (n, in_channels, h, w).
            identity (Tensor | None): What the result is added to, for trunks that make it themselves. Defaults to
                None: ``downsample(x)``.

        Returns:
            Tensor: (n, out_channels, h / stride, w / stride).
        """
        if self.with_cp and torch.is_grad_enabled():
            contexts = lambda: (nullcontext(), running_statistics_untouched(self))  # noqa: E731
            return checkpoint(self._forward, x, identity, use_reentrant=False, context_fn=contexts)
        return self._forward(x, identity)

    def _forward(self, x, identity):
        if identity is None:
            identity = x if self.downsample is None else self.downsample(x)
        u = self._plugged('after_conv1', self.relu(self.bn1(self.conv1(x))))
        u = u.split(self.width, dim=1)  # s × (n, w, h, w)
        y = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns)):
            u_i = u[i] if i == 0 or self.stage_block else u[i] + y[-1]
            y.append(self.relu(bn(conv(u_i))))
        if len(y) < len(u):
            y.append(self.pool(u[-1]))
        out = self.conv3(self._plugged('after_conv2', torch.cat(y, dim=1)))
        out = self.se(self._plugged('after_conv3', self.bn3(out))) + identity
        return self.relu(out) if self.last_relu else out

    def _plugged(self, position, x):
        for name in self.plugins[position]:
            x = getattr(self, name)(x)
        return x


@MODELS.register_module()
class Res2Net(BaseModule):
    """Res2Net: ResNet with :class:`Bottle2neck` blocks (paper section 4.1).

    The defaults give the paper's Res2Net-50 v1, 26w×4s. Its variants are values of ``scales`` and ``base_width``
    (26w×4s, 48w×2s, 14w×8s, ...); v1b, known elsewhere as v1d, has ``deep_stem=True, avg_down=True``; ResNet-50 is
    ``scales=1, base_width=64`` and ResNeXt-50 32x4d ``scales=1, base_width=4, groups=32``.

    Args:
        depth (int): 26, 50, 101, 152 or 200 layers. Defaults to 50.
        scales (int): Splits of a block, s; 1 gives ResNet or ResNeXt. Defaults to 4.
        base_width (int): Channels of one split (of one group, if grouped) in a stage of 64 planes, w. A stage of p
            planes has ⌊p·w/64⌋·groups, so that a change of ``base_channels`` scales the whole net. Defaults to 26.
        groups (int): Groups of the 3×3 convolutions (cardinality). Defaults to 1.
        in_channels (int): Channels of the image. Defaults to 3.
        stem_channels (int | None): Channels of the stem. Defaults to None, ``base_channels``.
        base_channels (int): Planes of the first stage; its output has 4 times as many channels. Defaults to 64.
        num_stages (int): Stages, 1 to 4. Defaults to 4.
        strides (Sequence[int]): Stride of the first block of each stage. Defaults to (1, 2, 2, 2).
        dilations (Sequence[int]): Dilation of all 3×3 convolutions of each stage. Defaults to (1, 1, 1, 1).
        out_indices (Sequence[int]): Stages whose outputs are returned. Defaults to (0, 1, 2, 3).
        style (str): 'pytorch' puts a stage's stride on the 3×3 convolutions, 'caffe' on the 1×1 before them; all public
            Res2Net weights are 'pytorch'. Defaults to 'pytorch'.
        deep_stem (bool): Three 3×3 convolutions instead of one 7×7 in the stem. Defaults to False.
        avg_down (bool): Average pooling and a 1×1 instead of a strided 1×1 in the shortcuts. Defaults to False.
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

    def __init__(self,
                 depth=50,
                 scales=4,
                 base_width=26,
                 groups=1,
                 in_channels=3,
                 stem_channels=None,
                 base_channels=64,
                 num_stages=4,
                 strides=(1, 2, 2, 2),
                 dilations=(1, 1, 1, 1),
                 out_indices=(0, 1, 2, 3),
                 style='pytorch',
                 deep_stem=False,
                 avg_down=False,
                 stage_pool='always',
                 frozen_stages=-1,
                 conv_cfg=None,
                 norm_cfg=BN,
                 norm_eval=False,
                 with_cp=False,
                 zero_init_residual=False,
                 init_cfg=None):
        check_choice('depth', depth, tuple(self.stage_blocks))
        for name, value in dict(scales=scales, base_width=base_width, groups=groups, in_channels=in_channels,
                                base_channels=base_channels).items():
            check_int(name, value, 1)
        check_int('num_stages', num_stages, 1, 4)
        stem_channels = base_channels if stem_channels is None else stem_channels
        check_int('stem_channels', stem_channels, 2 if deep_stem else 1)
        check_ints('strides', strides, num_stages, 1)
        check_ints('dilations', dilations, num_stages, 1)
        check_ints('out_indices', out_indices, None, 0, num_stages - 1)
        check_int('frozen_stages', frozen_stages, -1, num_stages)
        check_choice('style', style, ('pytorch', 'caffe'))
        check_choice('stage_pool', stage_pool, ('always', 'strided'))
        for name, value in dict(deep_stem=deep_stem, avg_down=avg_down, norm_eval=norm_eval, with_cp=with_cp,
                                zero_init_residual=zero_init_residual).items():
            check_choice(name, value, (True, False))
        if not isinstance(norm_cfg, dict) or 'type' not in norm_cfg:
            raise ValueError(f"Res2Net: norm_cfg={norm_cfg!r} must be a dict with a 'type', such as dict(type='BN')")
        widths = [base_channels * 2**i * base_width // 64 * groups for i in range(num_stages)]
        if not widths[0]:
            raise ValueError(f'Res2Net: base_width={base_width} leaves no channels to a split of the first stage '
                             f'({base_channels} planes); it must be at least {-(-64 // base_channels)}')

        super().__init__(init_cfg or [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ])
        self.variant = f'Res2Net-{depth} {base_width}w{scales}s'
        self.num_stages = num_stages
        self.out_indices = tuple(out_indices)
        self.deep_stem = deep_stem
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.zero_init_residual = zero_init_residual

        self._make_stem(in_channels, stem_channels, conv_cfg, norm_cfg)
        channels = stem_channels
        for i in range(num_stages):
            out_channels = base_channels * 2**i * self.expansion
            blocks = []
            for b in range(self.stage_blocks[depth][i]):
                stride = strides[i] if b == 0 else 1
                blocks.append(
                    Bottle2neck(
                        channels,
                        out_channels,
                        widths[i],
                        scales=scales,
                        groups=groups,
                        stride=stride,
                        dilation=dilations[i],
                        style=style,
                        stage_block=b == 0,
                        stage_pool=stage_pool,
                        downsample=make_shortcut(channels, out_channels, stride, avg_down, conv_cfg, norm_cfg),
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
    def stages(self):
        """list[nn.Sequential]: ``layer1`` .. ``layer4``."""
        return [getattr(self, f'layer{i + 1}') for i in range(self.num_stages)]

    def forward(self, x):
        """Return the features of the stages in ``out_indices``.

        Args:
            x (Tensor): Images, (n, in_channels, h, w).

        Returns:
            tuple[Tensor]: By default (n, 256, h/4, w/4), (n, 512, h/8, w/8), (n, 1024, h/16, w/16) and
            (n, 2048, h/32, w/32).
        """
        x = self.stem(x) if self.deep_stem else self.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def init_weights(self):
        """Initialise as ``init_cfg`` says, and warn if random weights would be frozen."""
        super().init_weights()
        init_cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg
        if any(cfg['type'] in ('Pretrained', 'PretrainedInit', PretrainedInit) for cfg in init_cfgs):
            return
        if self.zero_init_residual:
            for stage in self.stages:
                for block in stage:
                    nn.init.zeros_(block.bn3.weight)
        frozen = [f'{name}={getattr(self, name)}' for name, harmless in (('frozen_stages', -1), ('norm_eval', False))
                  if getattr(self, name) != harmless]
        if frozen:
            print_log(
                f'Res2Net starts from RANDOM weights with {" and ".join(frozen)}: layers that were never trained are '
                'held fixed, and the loss is likely to become NaN. Unless load_from or resume brings trained weights, '
                "give init_cfg=dict(type='Pretrained', checkpoint=...), or set frozen_stages=-1 and norm_eval=False.",
                logger='current', level=logging.WARNING)

    def train(self, mode=True):
        """Set the training mode, but keep frozen stages, and batch norms under ``norm_eval``, in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self):
        if self.frozen_stages < 0:
            return
        stem = [self.stem] if self.deep_stem else [self.conv1, self.bn1]
        for module in stem + self.stages[:self.frozen_stages]:
            module.eval().requires_grad_(False)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        adapt_state_dict(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def norm(norm_cfg, channels):
    """A norm layer without the name that mmcv makes up for it: keys stay ``bn*`` whatever the kind."""
    return build_norm_layer(norm_cfg, channels)[1]


def squeeze_excitation(channels, reduction):
    """SE with a hidden layer of channels / reduction; its keys ``fc1|fc2`` are timm's."""
    from torchvision.ops import SqueezeExcitation  # only those who use it need torchvision
    return SqueezeExcitation(channels, channels // reduction)


def make_shortcut(in_channels, out_channels, stride, avg_down, conv_cfg=None, norm_cfg=BN):
    """The projection beside the first block of a stage; None where input and output have the same shape.

    A strided 1×1 convolution (v1), or, with ``avg_down``, average pooling and a 1×1 (v1b). The pooling is there at
    stride 1 too, where it does nothing, because the published keys count it.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)] if avg_down else []
    conv = build_conv_layer(conv_cfg, in_channels, out_channels, 1, stride=1 if avg_down else stride, bias=False)
    return nn.Sequential(*pool, conv, norm(norm_cfg, out_channels))


@contextmanager
def running_statistics_untouched(module):
    """Recompute without counting the batch a second time in the running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum, m.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for m, (momentum, num_batches_tracked) in zip(norms, kept):
            m.momentum, m.num_batches_tracked = momentum, num_batches_tracked


def check_int(name, value, low, high=None):
    if type(value) is not int or value < low or (high is not None and value > high):
        allowed = f'of at least {low}' if high is None else f'from {low} to {high}'
        raise ValueError(f'Res2Net: {name}={value!r} must be an integer {allowed}')


def check_ints(name, values, length, low, high=None):
    if not isinstance(values, (tuple, list)) or not values or (length is not None and len(values) != length):
        count = 'one or more integers' if length is None else f'{length} integers, one for each of num_stages'
        raise ValueError(f'Res2Net: {name}={values!r} must be a sequence of {count}')
    for i, value in enumerate(values):
        check_int(f'{name}[{i}]', value, low, high)


def check_choice(name, value, choices):
    if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
        raise ValueError(f'Res2Net: {name}={value!r} must be one of {", ".join(map(repr, choices))}')
