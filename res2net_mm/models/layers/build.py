"""Building layers from mmcv's configs; a config that a layer refuses is an error that names the argument."""
from __future__ import annotations

from mmcv.cnn import build_conv_layer, build_norm_layer, build_plugin_layer
from torch import nn

from .refusal import naming_argument


def build_conv(conv_cfg: dict | None,
               in_channels: int,
               out_channels: int,
               kernel_size: int,
               stride: int = 1,
               dilation: int = 1,
               groups: int = 1,
               argument: str = 'conv_cfg') -> nn.Module:
    """Build a convolution without a bias, padded so that it keeps the size at stride 1.

    Args:
        conv_cfg (dict | None): mmcv config of the convolution; None for Conv2d.
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_size (int): Side of the kernel, odd.
        stride (int): Defaults to 1.
        dilation (int): Defaults to 1.
        groups (int): Defaults to 1.
        argument (str): Where the config comes from, for messages. Defaults to 'conv_cfg'.

    Raises:
        ArgumentError: If there is no such convolution, or it refuses its config.
    """
    with naming_argument(argument, conv_cfg):
        return build_conv_layer(conv_cfg, in_channels, out_channels, kernel_size, stride=stride,
                                padding=dilation * (kernel_size // 2), dilation=dilation, groups=groups, bias=False)


def build_norm(norm_cfg: dict, channels: int) -> nn.Module:
    """Build a norm layer without the name that mmcv makes up for it: keys stay ``bn*`` whatever the kind.

    Raises:
        ArgumentError: If there is no such norm, or it refuses its config.
    """
    with naming_argument('norm_cfg', norm_cfg):
        return build_norm_layer(norm_cfg, channels)[1]


def add_plugin(block: nn.Module, plugin: dict, channels: int) -> str:
    """Build the layer of a plugin into a block, and return the name under which it is there.

    Args:
        block (nn.Module): The block.
        plugin (dict): ``cfg``, mmcv config of the layer; ``postfix``, of its name, '' if there is none.
        channels (int): Channels of its input.

    Raises:
        ArgumentError: If there is no such layer, it refuses its config, or the block has a layer of that name.
    """
    with naming_argument('plugins', plugin):
        name, layer = build_plugin_layer(plugin['cfg'], in_channels=channels, postfix=plugin.get('postfix', ''))
        if hasattr(block, name):
            raise ValueError(f"two layers of a block are called '{name}'; give each a postfix of its own")
        block.add_module(name, layer)
    return name
