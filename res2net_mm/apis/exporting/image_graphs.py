"""The test pipeline inside of a graph: from images of 8 bits to outputs in pixels of the image.

Sizes are computed by whole numbers, as all of tracing's tensors, torch.export's symbols and Python's integers can be.
"""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from ...utils.errors import UserError
from ..preparation import Preprocess
from .graphs import Saliency, Segmentation

Length = Any  # an int, torch.export's SymInt, or while a graph is traced a Tensor
PIXEL = 255.


class ImageGraph(nn.Module):
    """A graph that prepares its images itself.

    A resized image is rounded to whole numbers, as OpenCV and Pillow do; their own arithmetic is in fixed point, so
    that single pixels differ by 1. Pillow's filters, which PyTorch's exporters do not have, are products of matrices.

    Args:
        graph (nn.Module): From prepared images to outputs.
        preprocess (dict): What ``read_preprocess`` returns.

    Raises:
        UserError: If a graph cannot do that: cut out patches, or resize with another filter.
    """

    def __init__(self, graph: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        if preprocess['patch']:
            raise UserError('--preprocess: a file cannot cut out the boxes that keypoints are looked for in; leave the '
                            'option out, and Exported does it')
        resize = preprocess['resize']
        if resize and resize['interpolation'] not in ('bilinear', 'bicubic'):
            raise UserError(f"--preprocess: a file cannot resize by '{resize['interpolation']}'")
        self.whole, self.preprocess = graph, preprocess  # 'graph' is a name of torch.export's own
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(preprocess[name]).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(n, h, w, 3) uint8, B, G, R -> the outputs of the graph."""
        prepared, resized = self.prepare(images)
        height, width = images.shape[1:3]
        if isinstance(self.whole, Segmentation):
            maps = self.whole.logits(prepared)[..., :resized[0], :resized[1]]
            if self.preprocess['resize']:
                maps = interpolate(maps, size=(height, width), mode='bilinear',
                                   align_corners=self.whole.model.align_corners)
            return (maps[:, 0].sigmoid() if isinstance(self.whole, Saliency) else maps, )
        outs = self.whole(prepared)
        if outs[0].shape[-1] == 4 and len(outs) > 2:  # a detector's boxes
            steps = torch.stack([as_number(width, outs[0]) / as_number(resized[1], outs[0]),
                                 as_number(height, outs[0]) / as_number(resized[0], outs[0])]).repeat(2)
            return (outs[0] * steps, *outs[1:])
        return outs

    def prepare(self, images: Tensor) -> tuple[Tensor, tuple[Length, Length]]:
        """Prepared images (n, 3, h, w), and height and width of what is not padding."""
        steps, size = self.preprocess, (images.shape[1], images.shape[2])
        pixels = images.permute(0, 3, 1, 2).float()
        if steps['resize']:
            size = size_in_graph(size[0], size[1], steps['resize'])
            pixels = resize_pixels(pixels, size, steps['resize'])
        if steps['crop']:
            top, left = (middle(old, new) for old, new in zip(size, steps['crop']))
            size = (smaller(size[0], steps['crop'][0]), smaller(size[1], steps['crop'][1]))
            pixels = pixels[..., top:top + size[0], left:left + size[1]]
        if steps['rgb']:
            pixels = pixels.flip(1)
        pixels = (pixels - self.mean) / self.std
        least, divisor = steps['pad_size'] or (0, 0), steps['pad_divisor']
        if max(*least, divisor) > 1:
            padded = [larger(side, low) for side, low in zip(size, least)]
            below, right = (side + -side % divisor - old for side, old in zip(padded, size))
            pixels = pad(pixels, (0, right, 0, below), value=float(steps['pad_value']))
        return pixels, size


def smaller(one: Length, other: Length) -> Length:
    """The smaller of two lengths."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return torch.minimum(torch.as_tensor(one), torch.as_tensor(other))
    return torch.sym_min(one, other)


def larger(one: Length, other: Length) -> Length:
    """The larger of two lengths."""
    return -smaller(-one, -other)


def as_number(length: Length, like: Tensor) -> Tensor:
    """A length as a tensor of the type of another."""
    return length.to(like.dtype) if isinstance(length, Tensor) else like.new_full((), 1) * length


def middle(old: Length, new: int) -> Length:
    """Where the middle of a length begins: half of what is left, rounded to the even number."""
    half = larger(old - new, 0) // 2
    return half + half % 2 * (larger(old - new, 0) % 2)


def size_in_graph(height: Length, width: Length, resize: dict) -> tuple[Length, Length]:
    """What ``resized_size`` computes, by whole numbers."""
    rule, size = resize['rule'], resize['size']
    if rule == 'fixed':
        return tuple(size)
    if rule == 'keep_ratio':
        longer, shorter = larger(height, width), smaller(height, width)
        new = [smaller(rounded(side * max(size), longer), rounded(side * min(size), shorter))
               for side in (height, width)]
        return new[0], new[1]
    if rule == 'within':
        return smaller(size[0], rounded(height * size[1], width)), smaller(size[1], rounded(width * size[0], height))
    new_height, new_width = size * height // width, size * width // height
    if rule in ('short', 'long'):
        choose = larger if rule == 'short' else smaller
        return choose(new_height, size), choose(new_width, size)
    return (size, new_width) if rule == 'height' else (new_height, size)


def rounded(dividend: Length, divisor: Length) -> Length:
    """A quotient, rounded to a whole number, halves up."""
    return (2 * dividend + divisor) // (2 * divisor)


def resize_pixels(pixels: Tensor, size: tuple[Length, Length], resize: dict) -> Tensor:
    """Resize (n, 3, h, w), 0 to 255, to a height and width, and round."""
    if resize['library'] == 'cv2':
        pixels = interpolate(pixels, size=size, mode=resize['interpolation'], align_corners=False)
        return torch.floor(pixels + 0.5).clamp(0, PIXEL)
    columns = filter_matrix(pixels, 3, size[1], resize['interpolation'])
    rows = filter_matrix(pixels, 2, size[0], resize['interpolation'])
    pixels = torch.floor(pixels @ columns.t() + 0.5).clamp(0, PIXEL)
    return torch.floor(rows @ pixels + 0.5).clamp(0, PIXEL)


def filter_matrix(pixels: Tensor, axis: int, new: Length, interpolation: str) -> Tensor:
    """(new, old), Pillow's weights for an axis: a filter that is as wide as the image shrinks."""
    old = pixels.shape[axis]
    scale = as_number(old, pixels) / as_number(new, pixels)
    wanted = (torch.arange(new, device=pixels.device) + 0.5) * scale
    distance = (torch.arange(old, device=pixels.device) + 0.5 - wanted[:, None]).abs() / scale.clamp(min=1)
    if interpolation == 'bilinear':
        weights = (1 - distance).clamp(min=0)
    else:
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weights = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
    return weights / weights.sum(1, keepdim=True)
