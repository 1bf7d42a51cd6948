"""Parameters, multiply-adds and memory traffic of a backbone with a classifier, counted on PyTorch's meta device.

Multiply-adds, which the paper calls FLOPs, are those of convolutions and linear layers at the given image size.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Classifier(nn.Module):
    """Average pooling and a linear layer on the last output of a backbone.

    Args:
        backbone (nn.Module): The backbone.
        channels (int): Channels of its last output.
        classes (int): Outputs of the linear layer.
    """

    def __init__(self, backbone: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, classes)."""
        return self.fc(self.backbone(x)[-1].mean((2, 3)))


def classifier(backbone: dict, classes: int) -> Classifier:
    """Build a classifier around the backbone of a config."""
    model = MODELS.build(backbone)
    model.out_indices = model.out_indices[-1:]
    return Classifier(model, model.out_channels[-1], classes)


def count(backbone: dict, image_size: int | Sequence[int] = 224, classes: int = 1000,
          norms: bool = True) -> tuple[int, int]:
    """Count parameters and multiply-adds of a backbone with a classifier.

    Args:
        backbone (dict): Config of the backbone.
        image_size (int | Sequence[int]): Side of the image, or height and width. Defaults to 224.
        classes (int): Outputs of the classifier. Defaults to 1000.
        norms (bool): Whether parameters of norm layers count (they do not in the CIFAR rows of the paper).
            Defaults to True.

    Returns:
        tuple[int, int]: Parameters and multiply-adds.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    with torch.device('meta'):
        model = classifier(backbone, classes).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, backbone.get('in_channels', 3), height, width))
    params = sum(p.numel() for name, p in model.named_parameters()
                 if norms or not isinstance(model.get_submodule(name.rpartition('.')[0]), nn.BatchNorm2d))
    return params, counter.get_total_flops() // 2


def traffic(backbone: dict, image_size: int = 224, classes: int = 1000) -> tuple[int, int]:
    """Count the values that convolutions and linear layers read and write in a forward pass, once each.

    Memory sees at least as many, as long as these layers run one after the other and all else is done on their way.

    Args:
        backbone (dict): Config of the backbone.
        image_size (int): Side of the image. Defaults to 224.
        classes (int): Outputs of the classifier. Defaults to 1000.

    Returns:
        tuple[int, int]: Inputs and outputs of an image; weights.
    """
    moved: list[int] = []
    with torch.device('meta'):
        model = classifier(backbone, classes).eval()
        layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        for layer in layers:
            layer.register_forward_hook(lambda _, inputs, out: moved.append(inputs[0].numel() + out.numel()))
        model(torch.empty(1, backbone.get('in_channels', 3), image_size, image_size))
    return sum(moved), sum(layer.weight.numel() for layer in layers)
