"""Where a trained saliency net looks, as numbers: the paper's Figure 4, by the masks of objects and their size."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import cv2
import torch

from ..evaluation.saliency_metric import split_by_size
from ..utils.masks import read_mask
from .cam.coverage import map_coverage
from .cam.explain import ExplainedModel
from .receptive_field import load_square_images
from .receptive_field_figure import measure_config

SALIENT_LABEL = 1
FIELD_IMAGES, FIELD_SIZE, FIELD_SHARE = 8, 320, 0.9
FIELD_BLOCKS = {'layer2': 'look_field_2', 'layer3': 'look_field_3', 'layer4': 'look_field_4'}


def measure_looks(config: str, checkpoint: str, pairs: Sequence[tuple[Path, Path]],
                  device: str | torch.device = 'cpu') -> dict[str, float | None]:
    """Measure the maps of class activation, and the receptive fields, of a trained net.

    A map explains the pixels that the net takes for salient, at the last block of the backbone. Its energy is the share
    of its sum that lies in the object's mask, and what is covered of the object is the share of the mask where the map
    is at least 20 % of its maximum. An image in which the net sees nothing counts among the missed ones alone.

    Args:
        config (str): A config of mmseg with one map, such as those of DSS.
        checkpoint (str): A checkpoint of it.
        pairs (Sequence[tuple[Path, Path]]): Images and their masks.
        device (str | torch.device): Where to run. Defaults to 'cpu'.

    Returns:
        dict[str, float | None]: ``look_energy`` and ``look_covered`` in %, also with ``_small``, ``_medium`` and
        ``_large``; ``look_missed``, a number of images; and ``look_field_2`` to ``_4``, the radius in pixels within
        which 90 % of the gradient's energy of the last block of a stage lies, of the split that sees most. None where
        there is nothing to take a mean of.

    Raises:
        OSError, ValueError: If a file cannot be read, or the checkpoint does not fit.
    """
    model = ExplainedModel(config, checkpoint, device=device)
    shares, maps = [], []
    for image, mask_file in pairs:
        prepared, mask = model.prepare_image(image), read_mask(mask_file)
        height, width = prepared.image.shape[:2]
        region = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        heat, _ = model.explain(prepared, SALIENT_LABEL)
        shares.append(mask.mean())
        maps.append(None if heat is None else map_coverage(heat, region))
    groups = {'': list(range(len(maps)))}
    groups.update({f'_{size}': third for size, third in split_by_size(shares).items()})
    numbers: dict[str, float | None] = {}
    for group, indices in groups.items():
        seen = [coverage for i in indices for coverage in [maps[i]] if coverage is not None]
        for measure in ('energy', 'covered'):
            values = [getattr(coverage, measure) for coverage in seen]
            numbers[f'look_{measure}{group}'] = 100 * mean(values) if values else None
    numbers['look_missed'] = sum(coverage is None for coverage in maps)
    return {**numbers, **_fields(config, checkpoint, [image for image, _ in pairs[:FIELD_IMAGES]], device)}


def _fields(config: str, checkpoint: str, images: Sequence[Path],
            device: str | torch.device) -> dict[str, float | None]:
    """The radii of the receptive fields of the last block of stages 2 to 4."""
    inputs = load_square_images(images, FIELD_SIZE).to(device)
    radii: dict[str, float | None] = {}
    for block, fields in measure_config(config, checkpoint, inputs).by_block().items():
        name = FIELD_BLOCKS.get(block.partition('.')[0])
        if name:
            radii[name] = max((radius for field in fields for radius in [field.radius(FIELD_SHARE)]
                               if radius is not None), default=None)
    return radii
