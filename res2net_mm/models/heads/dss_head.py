"""DSS, the decode head for salient objects that the paper's Table 9 puts on ResNet and Res2Net.

Source: paper section 4.9; *Deeply Supervised Salient Object Detection with Short Connections*, arXiv 1611.04849, and
its public code. Nothing here needs mmseg, but the head is one for mmseg's EncoderDecoder.
"""
from __future__ import annotations

from typing import Any, Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate, logsigmoid

from ...registry import MODELS
from ..layers.arguments import Arguments, Integer, Integers, Number, OneOf, checked
from ..layers.config_rules import InitConfig

IGNORED = 255  # the label of padding


def count_sides(arguments: Arguments) -> int:
    """Count the sides of a head: one for each feature map."""
    return len(arguments['in_channels'])


RULES = dict(
    in_channels=Integers(Integer(1), at_least=5),
    channels=Integers(Integer(1), length=count_sides),
    kernel_sizes=Integers(Integer(1, where=lambda size, arguments: size % 2 == 1, what='odd'), length=count_sides),
    averaged=Integers(Integer(0, lambda arguments: count_sides(arguments) - 1, words=('fused', ))),
    reduction=OneOf('sum', 'mean'),
    threshold=Number(0, 1),
    init_cfg=InitConfig(),
)


@MODELS.register_module()
class DSSHead(BaseModule):
    """A saliency map from every feature map of a backbone, the deep ones helping the shallow ones, and one from all.

    A *side* takes one feature to a map of logits: two convolutions with ReLU and a 1×1. The two deepest maps stand as
    they are. The next two are combined with both of these, and all shallower ones with these and the two combined maps
    (*short connections*): each is a 1×1 over its own map and the others, brought to its size. Every map is then brought
    to the size of the image, and a 1×1 over all of them, which starts as their mean, is the *fused* map. Maps grow by
    bilinear interpolation, to the size that is wanted: the original's fixed factors of 2 miss the sizes of a dilated
    stage. The loss is the sum of the cross-entropies of all sides and the fused map.

    A ResNet has five sides, on the stem and the four stages (``out_indices=('stem', 0, 1, 2, 3)``), VGG has six. The
    defaults are those of the five.

    Args:
        in_channels (Sequence[int]): Channels of the features, the largest feature first; five or more.
        channels (Sequence[int]): Channels of the two convolutions of each side. Defaults to (128, 256, 256, 512, 512).
        kernel_sizes (Sequence[int]): Their kernel sizes, odd. Defaults to (3, 5, 5, 5, 7).
        averaged (Sequence[int | str]): The maps whose mean probability is the prediction: sides, by the index of their
            feature map, and 'fused'. Defaults to (0, 1, 2, 'fused'), sides 2, 3, 4 and the fused map in the DSS
            paper's count, which has VGG's; its notebook takes 3, 4, 5: (1, 2, 3, 'fused').
        reduction (str): 'sum', of an image's pixels, and the mean of that over images, as the original, whose learning
            rate of 1e-8 is for it; or 'mean', over all pixels. Defaults to 'sum'.
        threshold (float): Above this probability ``pred_sem_seg`` is 1. Defaults to 0.5.
        init_cfg (dict | list[dict] | None): mmengine's initialisation. Defaults to None: all convolutions N(0, 0.01),
            biases 0, and the fusion 1/n for n sides.

    Raises:
        ValueError: If an argument is out of its range; the message names it and the allowed values.
    """

    # Attributes that mmseg's segmentors ask of a head.
    align_corners = False
    num_classes = 2
    out_channels = 1

    @checked(RULES)
    def __init__(self,
                 in_channels: Sequence[int],
                 channels: Sequence[int] = (128, 256, 256, 512, 512),
                 kernel_sizes: Sequence[int] = (3, 5, 5, 5, 7),
                 averaged: Sequence[int | str] = (0, 1, 2, 'fused'),
                 reduction: str = 'sum',
                 threshold: float = 0.5,
                 init_cfg: dict | list[dict] | None = None) -> None:
        num_sides = len(in_channels)
        fusion = dict(type='Constant', name='fuse', val=1 / num_sides)
        super().__init__(init_cfg or dict(type='Normal', layer='Conv2d', std=0.01, override=fusion))
        self.averaged = tuple(num_sides if isinstance(i, str) else i for i in averaged)
        self.reduction = reduction
        self.threshold = threshold
        deeper = [4 if i < num_sides - 4 else 2 if i < num_sides - 2 else 0 for i in range(num_sides)]
        self.sides = nn.ModuleList(map(Side, in_channels, channels, kernel_sizes, deeper))
        self.fuse = nn.Conv2d(num_sides, 1, 1)

    def side_logits(self, features: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Compute the maps of all sides, and the fused one.

        Args:
            features (Sequence[Tensor]): (n, in_channels[i], h_i, w_i).
            size (Sequence[int]): Height and width of the maps.

        Returns:
            list[Tensor]: Logits, (n, 1, height, width): of every side in the order of the features, and the fused ones.
        """
        logits = [side(feature) for side, feature in zip(self.sides, features)]
        shallow = len(logits) - 4
        raw = logits[-2:]
        for i in (shallow, shallow + 1):
            logits[i] = self.sides[i].combine(logits[i], raw)
        for i in range(shallow):
            logits[i] = self.sides[i].combine(logits[i], logits[shallow:])  # two combined, two raw
        logits = [resize(side_map, size) for side_map in logits]
        return [*logits, self.fuse(torch.cat(logits, dim=1))]

    def forward(self, features: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor:
        """Predict a saliency map.

        Args:
            features (Sequence[Tensor]): (n, in_channels[i], h_i, w_i).
            size (Sequence[int] | None): Height and width of the map. Defaults to None, those of the first feature.

        Returns:
            Tensor: (n, 1, height, width), the logit of the mean of the ``averaged`` maps' probabilities.
        """
        logits = self.side_logits(features, size or features[0].shape[2:])
        chosen = torch.stack([logits[i] for i in self.averaged]).float()
        # log p/(1 - p) for the mean p, without ever rounding p or 1 - p to 0.
        return torch.logsumexp(logsigmoid(chosen), 0) - torch.logsumexp(logsigmoid(-chosen), 0)

    def loss(self, features: Sequence[Tensor], data_samples: list, train_cfg: dict | None = None) -> dict[str, Tensor]:
        """Compute the loss of each side and of the fused map.

        Args:
            features (Sequence[Tensor]): (n, in_channels[i], h_i, w_i).
            data_samples (list[SegDataSample]): With ``gt_sem_seg`` of 0, 1 and, for pixels that do not count, 255.
            train_cfg (dict | None): Passed by mmseg, not used.

        Returns:
            dict[str, Tensor]: ``loss_side0`` .. and ``loss_fused``.
        """
        labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])  # (n, 1, h, w)
        counted = (labels != IGNORED).float()
        total = len(labels) if self.reduction == 'sum' else counted.sum().clamp(min=1)
        target = (labels == 1).float()
        *sides, fused = self.side_logits(features, labels.shape[2:])
        maps = {**{f'loss_side{i}': side for i, side in enumerate(sides)}, 'loss_fused': fused}
        return {name: binary_cross_entropy_with_logits(logits, target, counted, reduction='sum') / total
                for name, logits in maps.items()}

    def predict(self, features: Sequence[Tensor], batch_img_metas: list[dict[str, Any]],
                test_cfg: dict | None = None) -> Tensor:
        """Predict a map of the size of the network's input, as mmseg's segmentors ask for it.

        Args:
            features (Sequence[Tensor]): (n, in_channels[i], h_i, w_i).
            batch_img_metas (list[dict]): Of each image, with ``img_shape`` and, where it was padded, ``pad_shape``.
            test_cfg (dict | None): Passed by mmseg, not used.

        Returns:
            Tensor: (n, 1, height, width), as of ``forward``. mmseg brings it to the size of the image and applies the
            sigmoid, so that ``seg_logits`` of its data samples is the saliency map, 0 to 1.
        """
        meta = batch_img_metas[0]
        sliding = isinstance(meta['img_shape'], torch.Size)  # a window of the padded image, says mmseg
        size = meta['img_shape'] if sliding else meta.get('pad_shape', meta['img_shape'])
        return self(features, size[:2])


class Side(nn.Module):
    """One side: a feature to a map of logits, and the combination of that with other sides' maps.

    Args:
        in_channels (int): Channels of the feature.
        channels (int): Channels of the two convolutions.
        kernel_size (int): Their kernel size.
        num_others (int): How many other maps it is combined with.
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, num_others: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.relu = nn.ReLU(inplace=True)
        self.score = nn.Conv2d(channels, 1, 1)
        self.merge = nn.Conv2d(1 + num_others, 1, 1) if num_others else None

    def forward(self, feature: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> (n, 1, h, w)."""
        return self.score(self.relu(self.conv2(self.relu(self.conv1(feature)))))

    def combine(self, own: Tensor, others: Sequence[Tensor]) -> Tensor:
        """This side's map, (n, 1, h, w), and smaller ones, (n, 1, h_i, w_i) -> (n, 1, h, w)."""
        assert self.merge is not None  # the two deepest are not combined
        return self.merge(torch.cat([own, *(resize(other, own.shape[2:]) for other in others)], dim=1))


def resize(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Bring a map, (n, 1, h_i, w_i), to a size, (n, 1, *size)."""
    return interpolate(logits, size=tuple(size), mode='bilinear', align_corners=False)
