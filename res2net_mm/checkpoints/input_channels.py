"""The first convolution of weights for images of another number of channels, as timm's ``in_chans`` makes it."""
from __future__ import annotations

import torch
from torch import Tensor

from ..utils.errors import CheckpointError

OPTION = 'adapt_in_channels'  # of a backbone's init_cfg=dict(type='Pretrained', ...)
# The one convolution that sees the image, under our names: v1b, DLA, all others.
FIRST_CONVOLUTIONS = ('stem.0.weight', 'base_layer.0.weight', 'conv1.weight')


def find_first_convolution(state: dict[str, Tensor]) -> str | None:
    """Find the weight that sees the image among those of a backbone; None if it is not there.

    Args:
        state (dict[str, Tensor]): The weights under our names, without a prefix.
    """
    return next((key for key in FIRST_CONVOLUTIONS if key in state and state[key].dim() == 4), None)


def adapt_weight(weight: Tensor, in_channels: int) -> Tensor:
    """Adapt the weight of a first convolution to images of another number of channels.

    For one channel the weights are summed: a grey image gives what it gives as an image of three equal channels. For
    more, they are repeated, R, G, B, R, ..., cut off after the last channel, and scaled by old / new number, so that
    the outputs keep their size.

    Args:
        weight (Tensor): (out_channels, 3 or 1, h, w).
        in_channels (int): The channels that the images have.

    Returns:
        Tensor: (out_channels, in_channels, h, w), of the same type; ``weight`` itself if it fits.

    Raises:
        ValueError: If the weight does not fit, and is not for images of 3 channels or 1.
    """
    channels = weight.shape[1]
    if channels == in_channels:
        return weight
    if channels not in (1, 3):
        raise CheckpointError(f'weights for images of {channels} channels cannot be adapted to {in_channels}: only '
                              'those for 3 channels (RGB) or 1 (grey) can')
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))  # float16 would round every sum
    if in_channels == 1:
        adapted = exact.sum(dim=1, keepdim=True)
    else:
        adapted = exact[:, torch.arange(in_channels) % channels] * (channels / in_channels)
    return adapted.to(weight.dtype)
