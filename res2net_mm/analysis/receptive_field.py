"""Effective receptive fields of the splits y_1 .. y_s of Res2Net's blocks: what "multi-scale" means, measured.

The paper says (section 3.1) that each split sees more than the one before it; by how much is not in it. After
*Understanding the Effective Receptive Field in Deep Convolutional Neural Networks*, arXiv 1701.04128, the field of a
split is drawn by the gradient of its central unit with respect to the image. Defined exactly:

* A split is the part of the input of a block's last convolution (``conv3``) that it fills; its central unit has the
  index h // 2, w // 2, and lies at the pixel index·stride.
* The energy of a pixel is Σ over the split's channels k and the image's channels c of (∂y_k / ∂x_c)². One backward
  pass with random signs on the channels has it as its expectation. Every input's energy is scaled to the sum 1; then
  the mean is taken over the inputs.
* The radius of a share is the smallest r such that the pixels at most r away, horizontally and vertically, from the
  centre hold this share of the energy.
* The theoretical radius is the distance of the farthest pixel that the unit depends on at all.
"""
from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ..utils.images import read_image

SHARES = (0.5, 0.9, 0.95)  # of the energy, whose radii are reported
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, RGB: how images are normalised
STRIPS = (128, 512, 2048, 8192)  # lengths of the images on which theoretical fields are looked for, until they fit


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of one split.

    Attributes:
        block (str): Name of the block in the backbone.
        split (int): 1 to s.
        centre (int): Row and column of the pixel that the unit is centred on.
        energy (np.ndarray): (size, size), with the sum 1; all zeros if the unit is dead for every input.
        theoretical (int | None): Theoretical radius in pixels; None if it is unbounded.
    """

    block: str
    split: int
    centre: int
    energy: np.ndarray
    theoretical: int | None

    def radius(self, share: float) -> int | None:
        """Pixels from the centre within which ``share`` of the energy lies; None for a dead unit."""
        if not self.energy.any():
            return None
        distance = np.abs(np.arange(len(self.energy)) - self.centre)
        rings = np.bincount(np.maximum.outer(distance, distance).ravel(), weights=self.energy.ravel())
        return int(np.searchsorted(np.cumsum(rings), share))


# 1. Blocks and their splits.


def find_blocks(backbone: nn.Module) -> dict[str, nn.Module]:
    """The bottleneck blocks of a backbone by name: the modules that end with a convolution called ``conv3``.

    Raises:
        ValueError: If there is none.
    """
    blocks = {name: module for name, module in backbone.named_modules()
              if isinstance(getattr(module, 'conv3', None), _ConvNd)}
    if not blocks:
        raise ValueError(f'{type(backbone).__name__} has no bottleneck blocks (modules with a conv3), and so no splits')
    return blocks


def last_blocks(backbone: nn.Module) -> list[str]:
    """Names of the last block of every stage; the stage is what a name begins with: layer3.5, level4.tree2.tree2."""
    return list({name.partition('.')[0]: name for name in find_blocks(backbone)}.values())


def count_splits(block: nn.Module) -> int:
    """How many splits a block has: 1 for a block of ResNet, which has no ``width``."""
    return block.conv3.in_channels // getattr(block, 'width', block.conv3.in_channels)


def compute_splits(backbone: nn.Module, block_names: Sequence[str], x: Tensor) -> dict[str, tuple[Tensor, ...]]:
    """Run a backbone and keep the splits of some blocks.

    Args:
        backbone (nn.Module): The backbone.
        block_names (Sequence[str]): Names of blocks.
        x (Tensor): The image, (n, in_channels, h, w).

    Returns:
        dict[str, tuple[Tensor]]: For each block its splits y_1 .. y_s, (n, width, h', w') each.
    """
    splits = {}

    def keep(name, count):
        return lambda conv3, inputs: splits.update({name: inputs[0].chunk(count, dim=1)})

    blocks = {name: backbone.get_submodule(name) for name in block_names}
    hooks = [block.conv3.register_forward_pre_hook(keep(name, count_splits(block))) for name, block in blocks.items()]
    try:
        backbone(x)
    finally:
        for hook in hooks:
            hook.remove()
    return splits


def centre_row(y: Tensor, x: Tensor) -> int:
    """The row of the image x that the central unit of the feature map y is centred on."""
    size, units = x.shape[2], y.shape[2]
    if size % units:
        raise ValueError(f'--size {size}: must be a multiple of the strides; a map of {units} units comes of it')
    return units // 2 * (size // units)


# 2. Fields.


def measure_receptive_fields(backbone: nn.Module, inputs: Tensor, blocks: Sequence[str] | None = None,
                             seed: int = 0) -> list[ReceptiveField]:
    """Measure receptive fields.

    Args:
        backbone (nn.Module): A backbone with bottleneck blocks; it is put into eval mode, its weights are frozen.
        inputs (Tensor): Images, (n, in_channels, size, size); the size is a multiple of the largest stride.
        blocks (Sequence[str] | None): Names of blocks. Defaults to None, the last one of every stage.
        seed (int): Of the random signs. Defaults to 0.

    Returns:
        list[ReceptiveField]: For every block, its splits in order.

    Raises:
        ValueError: If there is no such block, or the size does not suit the strides.
    """
    known = find_blocks(backbone)
    blocks = blocks or last_blocks(backbone)
    unknown = [name for name in blocks if name not in known]
    if unknown:
        raise ValueError(f'--blocks: there is no block {", ".join(unknown)}; there are {", ".join(known)}')
    backbone.eval()  # those of some toolboxes return None
    backbone.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    theory = theoretical_radii(backbone, blocks, inputs.shape[1])

    energy: dict[tuple[str, int], np.ndarray] = {}
    centres: dict[str, int] = {}
    for x in inputs:
        x = x[None].requires_grad_()
        for name, splits in compute_splits(backbone, blocks, x).items():
            for i, y in enumerate(splits):
                centres[name] = centre_row(y, x)
                pixels = gradient_energy(y, x, generator)
                total = pixels.sum()
                if total > 0:
                    energy[name, i] = energy.get((name, i), 0) + pixels.cpu().numpy() / total.item()
    size = inputs.shape[-1]
    fields = []
    for name in blocks:
        for i in range(count_splits(known[name])):
            total = energy.get((name, i), np.zeros((size, size)))
            fields.append(ReceptiveField(name, i + 1, centres[name], total / max(total.sum(), 1e-300), theory[name][i]))
    return fields


def gradient_energy(y: Tensor, x: Tensor, generator: torch.Generator) -> Tensor:
    """Squared gradient of the central unit of y, with random signs on its channels, summed over the channels of x.

    Args:
        y (Tensor): A split, (1, width, h', w'), computed from ``x``.
        x (Tensor): The image, (1, in_channels, h, w), which requires a gradient.
        generator (torch.Generator): Draws the signs.

    Returns:
        Tensor: (h, w) float64.
    """
    unit = y[0, :, y.shape[2] // 2, y.shape[3] // 2]
    signs = torch.randint(2, unit.shape, generator=generator).to(unit) * 2 - 1
    gradient, = torch.autograd.grad((unit * signs).sum(), x, retain_graph=True)
    return gradient[0].double().square().sum(0)


def theoretical_radii(backbone: nn.Module, blocks: Sequence[str], in_channels: int) -> dict[str, list[int | None]]:
    """The theoretical radius of every split.

    A copy whose weights are all positive, and which averages where the network takes a maximum, has a gradient greater
    than zero exactly where there is a dependence. As kernels are square, a narrow image is enough to see how far that
    reaches.

    Args:
        backbone (nn.Module): The backbone; it stays as it is.
        blocks (Sequence[str]): Names of blocks.
        in_channels (int): Channels of its images.

    Returns:
        dict[str, list[int | None]]: For every block the radii of its splits in pixels; None for an unbounded one.
    """
    positive = positive_copy(backbone)
    device = next(positive.parameters()).device
    radii: dict[str, list[int | None]] = {}
    for length in STRIPS:
        x = torch.ones(1, in_channels, length, 32, dtype=torch.float64, device=device).requires_grad_()
        unfinished = [name for name in blocks if None in radii.get(name, [None])]
        for name, splits in compute_splits(positive, unfinished, x).items():
            radii[name] = []
            for y in splits:
                gradient, = torch.autograd.grad(y[:, :, y.shape[2] // 2].sum(), x, retain_graph=True)
                reached = gradient.sum((0, 1, 3)).nonzero().flatten()
                bounded = reached[0] > 0 and reached[-1] < length - 1
                radii[name].append((reached - centre_row(y, x)).abs().max().item() if bounded else None)
    return radii


def positive_copy(backbone: nn.Module) -> nn.Module:
    """A copy in float64 with positive weights, whose gradients show every dependence."""
    copied = copy.deepcopy(backbone).double().requires_grad_(False)
    copied.eval()
    for module in list(copied.modules()):
        if isinstance(module, _ConvNd):
            module.weight.fill_(1 / module.weight[0].numel())  # sums would grow beyond all numbers with the depth
        elif isinstance(module, _BatchNorm):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
        if getattr(module, 'bias', None) is not None:
            nn.init.zeros_(module.bias)
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode))
    return copied


# 3. What a field is measured on.


def calibrate_norms(backbone: nn.Module, inputs: Tensor) -> None:
    """Give the batch norms of random weights the statistics of the inputs, as they would have in training.

    Args:
        backbone (nn.Module): The backbone; it is in eval mode afterwards.
        inputs (Tensor): (n, in_channels, h, w).
    """
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    backbone.eval()
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the mean over all that is seen
        module.train()
    with torch.no_grad():
        backbone(inputs)
    for module, momentum in zip(norms, momenta):
        module.momentum = momentum
    backbone.eval()


def load_square_images(paths: Sequence[str | Path], size: int) -> Tensor:
    """Read images as inputs: the largest square in the middle, normalised as models of ImageNet take it.

    Args:
        paths (Sequence[str | Path]): Image files.
        size (int): Side of the square in pixels, after resizing.

    Returns:
        Tensor: (n, 3, size, size), RGB.

    Raises:
        OSError: If a file cannot be read.
    """
    import mmcv
    inputs = []
    for path in paths:
        image = read_image(path)
        side = min(image.shape[:2])
        top, left = ((length - side) // 2 for length in image.shape[:2])
        square = mmcv.imresize(image[top:top + side, left:left + side], (size, size))
        inputs.append(torch.from_numpy(mmcv.imnormalize(square, np.array(MEAN), np.array(STD))).permute(2, 0, 1))
    return torch.stack(inputs)
