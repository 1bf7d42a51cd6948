"""Image folders train/CLASS and val/CLASS, as mmpretrain's CustomDataset reads them."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from ..utils.images import write_image


def write_image_of_class(root: str | Path, split: str, class_name: str, index: int, image: np.ndarray) -> Path:
    """Write an image of a class.

    Args:
        root (str | Path): The folder of the set.
        split (str): 'train' or 'val'.
        class_name (str): The class.
        index (int): The image's number, which becomes its name.
        image (np.ndarray): (h, w) or (h, w, 3) uint8, BGR.

    Returns:
        Path: The file.

    Raises:
        OSError: If it cannot be written.
    """
    folder = Path(root) / split / class_name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f'{index:05d}.png'
    write_image(file, image, durable=False)
    return file
