"""A stem's forward and backward pass in one piece.

:class:`FusedStem` keeps the outputs of its convolutions, and where the pooling found its maxima; PyTorch keeps what
goes into every layer besides, in which a stem's feature maps are the largest of the net.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...models.backbones.base import Backbone
from ...models.backbones.res2net import Res2Net
from ..eager import is_eager
from ..graph import is_ours
from .context import saved_by_pytorch
from .kernels import has_kernels
from .layers import CHANNELS_LAST, Convolution, MaxPool, as_feature_map, as_matrix
from .norm_kernels import Norm, batch_norm, normalise, normalise_backward
from .plan import are_known, have_channels, kernels_can_run, parameters_of


@dataclass(frozen=True)
class Stem:
    """A stem: convolutions with their norms, a ReLU after each, and a max pooling.

    Attributes:
        layers (list[nn.Module]): By turns a convolution, its norm and its ReLU.
        pool (nn.Module): The max pooling.
        containers (list[nn.Module]): What contains the layers.
    """

    layers: list[nn.Module]
    pool: nn.Module
    containers: list[nn.Module]

    @classmethod
    def of(cls, backbone: Res2Net) -> Stem:
        """The stem of a backbone."""
        if backbone.deep_stem:
            return cls([*backbone.stem], backbone.maxpool, [backbone.stem])
        return cls([backbone.conv1, backbone.bn1, backbone.relu], backbone.maxpool, [])

    @property
    def convs(self) -> list[nn.Module]:
        """The convolutions."""
        return self.layers[::3]

    @property
    def norms(self) -> list[nn.Module]:
        """Their norms."""
        return self.layers[1::3]

    @property
    def modules(self) -> list[nn.Module]:
        """All that is called, and all that a hook may watch."""
        return [*self.layers, self.pool, *self.containers]


def stem_can_be_fused(backbone: Backbone) -> bool:
    """Whether a backbone's stem is made of nothing but layers that FusedStem knows, as they were built."""
    if not (isinstance(backbone, Res2Net) and is_ours(backbone)):
        return False
    if backbone.deep_stem and (type(backbone.stem) is not nn.Sequential or len(backbone.stem) % 3):
        return False
    stem = Stem.of(backbone)
    return (all(map(are_known, stem.convs, stem.norms)) and all(type(relu) is nn.ReLU for relu in stem.layers[2::3])
            and type(stem.pool) is nn.MaxPool2d and not stem.pool.return_indices
            and not any('forward' in vars(module) for module in stem.modules))


def images_can_be_fused(stem: Stem, images: Tensor) -> bool:
    """Whether FusedStem computes what the layers of a stem do with these images; if not, the layers do."""
    if images.dim() != 4 or not kernels_can_run(stem.convs, stem.norms, stem.modules, images):
        return False
    channels, size = images.shape[1], (images.shape[2], images.shape[3])
    for conv, norm in zip(stem.convs, stem.norms):
        out = len(conv.weight)
        if not have_channels(conv, norm, channels, out):
            return False
        channels, size = out, Convolution.of(conv).output_size(size)
        if min(size) < 1 or len(images) * size[0] * size[1] < 2:  # PyTorch has something to say about these
            return False
    return True


def run_stem(backbone: Backbone, images: Tensor) -> Tensor:
    """Run a backbone up to its first stage: in one piece, where that computes what the layers do."""
    if is_eager(images) and stem_can_be_fused(backbone) and has_kernels():
        stem = Stem.of(backbone)
        if images_can_be_fused(stem, images):
            return FusedStem.apply(stem, images, *parameters_of(stem.convs, stem.norms))
    return backbone.run_stem(images)


class FusedStem(torch.autograd.Function):
    """Forward and backward pass of a stem. Feature maps are in channels last."""

    @staticmethod
    def forward(ctx: Any, stem: Stem, images: Tensor, *parameters: Tensor) -> Tensor:
        """Run the stem.

        Args:
            ctx: Autograd's context.
            stem (Stem): Its layers.
            images (Tensor): (n, in_channels, h, w).
            *parameters (Tensor): Of every convolution, in order: its weight and its norm's weight and bias.

        Returns:
            Tensor: (n, out_channels, h', w'), channels last.
        """
        convs, pool, weights = [*map(Convolution.of, stem.convs)], MaxPool.of(stem.pool), parameters[::3]
        x, zs, norms = images.contiguous(memory_format=CHANNELS_LAST), [], []
        for conv, bn, weight, scale, bias in zip(convs, stem.norms, weights, parameters[1::3], parameters[2::3]):
            zs.append(conv(x, weight))
            norms.append(batch_norm(bn, as_matrix(zs[-1]), scale, bias))
            x = relu_of_norm(zs[-1], norms[-1])
        out, indices = pool(x)
        if any(ctx.needs_input_grad):
            ctx.convs, ctx.pool, ctx.statistics = convs, pool, [norm.statistics for norm in norms]
            ctx.save_for_backward(images, indices, *zs, *weights, *(norm.vectors for norm in norms),
                                  *saved_by_pytorch(stem.norms))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of forward's arguments, of those that need one."""
        (images, indices, *tensors), count = ctx.saved_tensors, len(ctx.convs)
        zs, weights, vectors = (tensors[i * count:(i + 1) * count] for i in range(3))
        norms = [Norm(*of_norm) for of_norm in zip(vectors, ctx.statistics)]
        _, needs_images, *needs = ctx.needs_input_grad
        grads: list[Tensor | None] = [None] * len(needs)
        grad = ctx.pool.backward(grad.contiguous(memory_format=CHANNELS_LAST), zs[-1], indices)
        for i in reversed(range(count)):
            needs_before = needs_images or any(needs[:3 * i])
            if not (needs_before or any(needs[3 * i:3 * i + 3])):
                break
            grad_z, affine, _ = normalise_backward(as_matrix(grad), as_matrix(zs[i]), norms[i], relu=True)
            grads[3 * i + 2], grads[3 * i + 1] = affine
            if not (needs_before or needs[3 * i]):
                break
            x = relu_of_norm(zs[i - 1], norms[i - 1]) if i else images.contiguous(memory_format=CHANNELS_LAST)
            grad, grads[3 * i] = ctx.convs[i].backward(as_feature_map(grad_z, zs[i]), x, weights[i],
                                                       (needs_before, needs[3 * i]))
        return None, grad if needs_images else None, *grads


def relu_of_norm(z: Tensor, norm: Norm) -> Tensor:
    """The feature map that a norm and a ReLU make of the output of a convolution."""
    return as_feature_map(normalise(as_matrix(z), norm, relu_last=True), z)
