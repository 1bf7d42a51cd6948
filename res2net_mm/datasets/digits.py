"""Handwritten digits, which scikit-learn ships, as image folders."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from .image_folders import write_image_of_class


def write_digits(root: str | Path) -> None:
    """Write scikit-learn's handwritten digits, a third of them as val.

    They are 1797 real images of 8 x 8 pixels and 17 greys.

    Args:
        root (str | Path): Where to write.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    train, val = train_test_split(np.arange(len(images)), test_size=1 / 3, stratify=digits.target, random_state=0)
    for split, indices in (('train', train), ('val', val)):
        for index in indices:
            write_image_of_class(root, split, str(digits.target[index]), index, images[index])
