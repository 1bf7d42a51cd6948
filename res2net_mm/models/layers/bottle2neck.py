"""The Res2Net block, written once: every trunk of this package is built from it.

Source: *Res2Net: A New Multi-scale Backbone Architecture*, arXiv 1904.01169, section 3. Two details follow the released
ImageNet weights where the paper is silent or differs: the **last** split is the one that is passed on unchanged (the
paper's Eq. 1 says the first: the same up to the order of channels), and the first block of every stage adds nothing
between splits and average-pools the last one.
"""
from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Callable, Iterator, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from .arguments import OneOf
from .build import add_plugin, build_conv, build_norm
from .refusal import ArgumentError

BN = dict(type='BN', requires_grad=True)
PLUGIN_POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')
# What the first block of a stage does where the public weights differ: the official ones, mmdet's detectors, Paddle's.
STAGE_POOLS = ('always', 'strided', 'strided_hierarchical')
# Takes a block, its input and the shortcut's output, or None, to the block's output.
BlockExecutor = Callable[['Bottle2neck', Tensor, Optional[Tensor]], Tensor]


class Bottle2neck(nn.Module):
    """A bottleneck whose 3×3 convolution is a hierarchy over ``scales`` splits (paper Fig. 2b, Eq. 1).

    With u = ReLU(BN(conv1(x))) cut into splits u_1..u_s and K_i = ReLU∘BN∘conv3×3::

        y_1 = K_1(u_1);  y_i = K_i(u_i + y_{i-1}) for 1 < i < s;  y_s = u_s
        out = ReLU(SE(BN(conv3([y_1 .. y_s]))) + shortcut(x))

    A *stage block*, the first of a stage, changes the resolution, so its splits do not match: there
    y_i = K_i(u_i), and y_s = AvgPool3×3(u_s), with exceptions by ``stage_pool``. With ``scales=1`` it is the ResNet
    (ResNeXt) bottleneck.

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
        stage_pool (str): When a stage block pools its last split: 'always'; 'strided', only if the 3×3 have a stride;
            or 'strided_hierarchical', as 'strided', where besides the average does not count the padding, and a stage
            block whose 3×3 have no stride is an ordinary block, which adds. Defaults to 'always'.
        downsample (nn.Module | None): The shortcut, which takes the input to the output's shape; None for the identity.
            Defaults to None.
        se_reduction (int): Channels per hidden unit of a squeeze-and-excitation right before the addition (paper 3.3);
            0 for none. Defaults to 0.
        last_relu (bool): Whether a ReLU follows the addition. Defaults to True.
        dcn (dict | None): mmcv config of deformable convolutions for the 3×3. Defaults to None.
        plugins (Sequence[dict]): Layers to insert: ``cfg``, and ``position``, one of 'after_conv1', 'after_conv2' (both
            of scales·width channels) and 'after_conv3'; ``postfix``, to tell several of a kind apart. Defaults to ().
        conv_cfg (dict | None): mmcv config of the convolutions. Defaults to None, Conv2d.
        norm_cfg (dict): mmcv config of the norm layers. Defaults to BN.
        with_cp (bool): Recompute the block in the backward pass instead of storing its activations.
            Defaults to False.

    Raises:
        ValueError: If ``stage_pool`` is none of these.

    Attributes:
        stage_block (bool): Whether it adds nothing between its splits: a stage block, unless ``stage_pool`` makes it an
            ordinary one.
        executor (Callable | None): What computes the block in place of ``run_layers``, the same function of the
            same layers. None, the default, calls the layers one by one.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 width: int,
                 scales: int = 4,
                 groups: int = 1,
                 stride: int = 1,
                 dilation: int = 1,
                 style: str = 'pytorch',
                 stage_block: bool = False,
                 stage_pool: str = 'always',
                 downsample: nn.Module | None = None,
                 se_reduction: int = 0,
                 last_relu: bool = True,
                 dcn: dict | None = None,
                 plugins: Sequence[dict] = (),
                 conv_cfg: dict | None = None,
                 norm_cfg: dict = BN,
                 with_cp: bool = False) -> None:
        super().__init__()
        OneOf(*STAGE_POOLS).check('stage_pool', stage_pool, {})
        conv1_stride, conv2_stride = (1, stride) if style == 'pytorch' else (stride, 1)
        hierarchical = stage_pool == 'strided_hierarchical'
        self.width = width
        self.scales = scales
        self.last_relu = last_relu
        self.stage_block = stage_block and not (hierarchical and conv2_stride == 1)
        self.with_cp = with_cp
        self.executor: BlockExecutor | None = None

        self.conv1 = build_conv(conv_cfg, in_channels, scales * width, 1, stride=conv1_stride)
        self.bn1 = build_norm(norm_cfg, scales * width)
        hierarchy = range(max(scales - 1, 1))
        conv3x3, argument = (conv_cfg, 'conv_cfg') if dcn is None else (dcn, 'dcn')
        self.convs = nn.ModuleList(
            build_conv(conv3x3, width, width, 3, conv2_stride, dilation, groups, argument) for _ in hierarchy)
        self.bns = nn.ModuleList(build_norm(norm_cfg, width) for _ in hierarchy)
        pools = self.stage_block and scales > 1 and (stage_pool == 'always' or conv2_stride > 1)
        pool = nn.AvgPool2d(3, conv2_stride, padding=1, count_include_pad=not hierarchical)
        self.pool = pool if pools else nn.Identity()
        self.conv3 = build_conv(conv_cfg, scales * width, out_channels, 1)
        self.bn3 = build_norm(norm_cfg, out_channels)
        self.se = squeeze_excitation(out_channels, se_reduction) if se_reduction else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.plugins: dict[str, list[str]] = {position: [] for position in PLUGIN_POSITIONS}  # names of their layers
        for plugin in plugins:
            channels = out_channels if plugin['position'] == 'after_conv3' else scales * width
            self.plugins[plugin['position']].append(add_plugin(self, plugin, channels))

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): (n, in_channels, h, w).
            identity (Tensor | None): The shortcut's output, for trunks that make it themselves. Defaults to None:
                ``downsample(x)``.

        Returns:
            Tensor: (n, out_channels, h / stride, w / stride).
        """
        # A trace has no backward pass to recompute for; and the check of torch.jit.trace, which compares the graphs of
        # two passes as text, fails with checkpoints in them, since the values have other names each time.
        if self.with_cp and torch.is_grad_enabled() and not torch.jit.is_tracing():
            contexts = lambda: (nullcontext(), running_statistics_untouched(self))  # noqa: E731
            return checkpoint(self._execute, x, identity, use_reentrant=False, context_fn=contexts)
        return self._execute(x, identity)

    def _execute(self, x: Tensor, identity: Tensor | None) -> Tensor:
        return self.run_layers(x, identity) if self.executor is None else self.executor(self, x, identity)

    def run_layers(self, x: Tensor, identity: Tensor | None) -> Tensor:
        """Run the block layer by layer: ``forward`` without an executor and without recomputing."""
        if identity is None:
            identity = x if self.downsample is None else self.downsample(x)
        u = self._run_plugins('after_conv1', self.relu(self.bn1(self.conv1(x))))
        u = u.split(self.width, dim=1)  # s × (n, w, h, w)
        y: list[Tensor] = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns)):
            u_i = u[i] if i == 0 or self.stage_block else u[i] + y[-1]
            y.append(self.relu(bn(conv(u_i))))
        if self.scales > 1:
            y.append(self.pool(u[-1]))
        out = self.conv3(self._run_plugins('after_conv2', torch.cat(y, dim=1)))
        out = self.se(self._run_plugins('after_conv3', self.bn3(out))) + identity
        return self.relu(out) if self.last_relu else out

    def _run_plugins(self, position: str, x: Tensor) -> Tensor:
        for name in self.plugins[position]:
            x = getattr(self, name)(x)
        return x


def squeeze_excitation(channels: int, reduction: int) -> nn.Module:
    """Squeeze-and-excitation with channels / reduction hidden units; its keys ``fc1|fc2`` are timm's."""
    try:
        from torchvision.ops import SqueezeExcitation  # only those who use it need torchvision
    except ImportError as error:
        raise ArgumentError(f'se_reduction={reduction} needs torchvision, which cannot be imported ({error}): '
                            'pip install torchvision') from error
    return SqueezeExcitation(channels, channels // reduction)


def make_shortcut(in_channels: int,
                  out_channels: int,
                  stride: int,
                  avg_down: bool,
                  conv_cfg: dict | None = None,
                  norm_cfg: dict = BN) -> nn.Sequential | None:
    """The projection beside the first block of a stage; None where input and output have the same shape.

    A strided 1×1 convolution (v1), or, with ``avg_down``, average pooling and a 1×1 (v1b). The pooling is there at
    stride 1 too, where it does nothing, because the published keys count it.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)] if avg_down else []
    conv = build_conv(conv_cfg, in_channels, out_channels, 1, stride=1 if avg_down else stride)
    return nn.Sequential(*pool, conv, build_norm(norm_cfg, out_channels))


@contextmanager
def running_statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Recompute a block without counting the batch a second time in the running statistics."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    kept = [(m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum, m.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for m, (momentum, num_batches_tracked) in zip(norms, kept):
            m.momentum, m.num_batches_tracked = momentum, num_batches_tracked
