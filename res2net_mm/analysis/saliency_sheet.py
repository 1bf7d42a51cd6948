"""Saliency maps of several models side by side, with the image and its mask (paper section 4.9, Fig. 7)."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope

from ..datasets.checks.configs import transforms_without_annotations
from ..datasets.saliency_folders import find_pairs
from ..models.whole_model import load_weights
from ..utils.config import config_name, load_config
from ..utils.images import read_image
from ..utils.masks import read_mask, size_defect
from ..utils.text import number_duplicates, shorten


@dataclass(frozen=True)
class SaliencyRow:
    """An image, its mask, and the maps of all models.

    Attributes:
        image (np.ndarray): (h, w, 3) uint8, BGR.
        mask (np.ndarray): (h, w) of 0 and 1.
        maps (list[np.ndarray]): (h, w) from 0 to 1 each.
    """

    image: np.ndarray
    mask: np.ndarray
    maps: list[np.ndarray]


class SaliencyModel:
    """A trained segmentor with one output channel, asked for one image at a time.

    Args:
        config (str): A config of mmseg whose model has a ``DSSHead``, or another head with ``out_channels=1``.
        checkpoint (str): A checkpoint of the whole model.
        device (str | torch.device): Where to run. Defaults to 'cpu'.

    Raises:
        OSError, ValueError: If a file cannot be read, the two do not fit, or the model has more than one channel.
    """

    def __init__(self, config: str, checkpoint: str, device: str | torch.device = 'cpu') -> None:
        self.name = config_name(config)
        cfg = load_config(config)
        init_default_scope(cfg.get('default_scope'))
        self.model = MODELS.build(cfg.model)
        if getattr(self.model, 'out_channels', None) != 1:
            raise ValueError(f"config '{config}' is not one of a saliency model: its out_channels must be 1")
        load_weights(self.model, config, checkpoint, cfg.get('default_scope'))
        self.model.to(device).eval().requires_grad_(False)
        self.pipeline = Compose(transforms_without_annotations(cfg))

    def saliency_map(self, image: str | Path) -> np.ndarray:
        """The saliency map of an image file: (h, w), 0 to 1, of the image's size."""
        packed = self.pipeline(dict(img_path=str(image)))
        result, = self.model.test_step(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
        return result.seg_logits.data[0].cpu().numpy()


def compare_saliency(models: Sequence[SaliencyModel], pairs: Sequence[tuple[Path, Path]]) -> list[SaliencyRow]:
    """Run models on images.

    Args:
        models (Sequence[SaliencyModel]): The models.
        pairs (Sequence[tuple[Path, Path]]): Images and their masks.

    Returns:
        list[SaliencyRow]: One for every image.

    Raises:
        OSError, ValueError: If a file cannot be read, or a mask has another size than its image.
    """
    rows = []
    for path, mask_path in pairs:
        image, mask = read_image(path), read_mask(mask_path)
        defect = size_defect(mask, image.shape[:2])
        if defect:
            raise ValueError(f'{mask_path} {defect}')
        rows.append(SaliencyRow(image, mask, [model.saliency_map(path) for model in models]))
    return rows


def choose_images(data_root: str | Path, dataset: str, names: Sequence[str] | None = None,
                  count: int = 6) -> list[tuple[Path, Path]]:
    """Choose images of a saliency dataset.

    Args:
        data_root (str | Path): The folder of the datasets.
        dataset (str): The dataset, 'SET' or 'SET:LIST', where LIST is a file in its folder with the names of images.
        names (Sequence[str] | None): Names of images without suffix. Defaults to None.
        count (int): Without names: so many, evenly spread over the dataset. Defaults to 6.

    Returns:
        list[tuple[Path, Path]]: Images and their masks.

    Raises:
        BadDataError: If there is no such dataset.
        ValueError: If there is no such image, or the count is less than 1.
    """
    pairs = find_pairs(data_root, dataset)
    if count < 1:
        raise ValueError(f'--count {count}: must be at least 1')
    if not names:
        return [pairs[i] for i in sorted({i * len(pairs) // count for i in range(count)})]
    known = {image.stem: (image, mask) for image, mask in pairs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f'--images {" ".join(unknown)}: {dataset} has no such image; it has {len(known)}: '
                         f'{shorten(known)}')
    return [known[name] for name in names]


def draw_saliency(rows: Sequence[SaliencyRow], names: Sequence[str], path: str | Path) -> None:
    """Draw images, their masks and maps; above each map its mean absolute error.

    Args:
        rows (Sequence[SaliencyRow]): One for every image.
        names (Sequence[str]): Names of the models; those that occur twice are numbered.
        path (str | Path): The PNG file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    names = number_duplicates(list(names))
    width = 2.4
    heights = [width * row.image.shape[0] / row.image.shape[1] + 0.25 for row in rows]
    figure, axes = plt.subplots(len(rows), len(names) + 2, squeeze=False, layout='constrained',
                                figsize=(width * (len(names) + 2), sum(heights) + 0.3), height_ratios=heights)
    for line, row in zip(axes, rows):
        line[0].imshow(row.image[..., ::-1])
        for axis, grey in zip(line[1:], [row.mask, *row.maps]):
            axis.imshow(grey, cmap='gray', vmin=0, vmax=1)
        for axis, saliency in zip(line[2:], row.maps):
            axis.set_title(f'MAE {np.abs(saliency - row.mask).mean():.3f}', fontsize=8)
        for axis in line:
            axis.set(xticks=[], yticks=[])
    for axis, name in zip(axes[0], ['image', 'mask', *names]):
        axis.set_title('\n'.join(filter(None, [name, axis.get_title()])), fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
