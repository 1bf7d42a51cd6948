"""Masks of salient objects: files of a black and white image, read as 1 where something is salient and 0 elsewhere.

A pixel is salient from 128 on, or, if the mask has no value but 0 and 1, where it is 1. A mask with three channels is
taken if they are equal. One that is all black is taken: nothing is salient.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SALIENT = 128  # the least value of a salient pixel, if there are values besides 0 and 1


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w) uint8, 1 where something is salient, else 0.

    Raises:
        ValueError: If it is not a black and white image: of other colours, dark all over, or of more than 8 bits.
    """
    try:
        return binarize(read_grey_values(path))
    except ValueError as error:
        raise ValueError(f'{path} {error}') from error


def read_grey_values(path: str | Path) -> np.ndarray:
    """Read the values of a mask file as they are.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w) uint8.

    Raises:
        ValueError: If it has other colours, or more than 8 bits.
    """
    with Image.open(path) as image:
        if image.mode in ('1', 'L', 'LA'):
            return np.asarray(image.convert('L'))
        if image.mode not in ('RGB', 'RGBA', 'P'):
            raise ValueError(f'is a mask of the kind {image.mode}; wanted is 8-bit black and white')
        channels = np.asarray(image.convert('RGB'))
    if (channels != channels[..., :1]).any():
        raise ValueError('is a mask in colours; wanted is black and white')
    return channels[..., 0]


def binarize(grey: np.ndarray) -> np.ndarray:
    """Turn the values of a mask file, (h, w) uint8, into 1 where something is salient and 0 elsewhere.

    Raises:
        ValueError: If the brightest pixel is neither 0, 1, nor bright.
    """
    brightest = grey.max()
    if 1 < brightest < SALIENT:
        raise ValueError(f'is a mask whose brightest pixel is {brightest}; wanted are 0 and 255, or 0 and 1')
    return (grey >= (SALIENT if brightest > 1 else 1)).astype(np.uint8)


def size_defect(mask: np.ndarray, shape: tuple[int, int]) -> str | None:
    """What is wrong with the size of a mask for its image, or None.

    Args:
        mask (np.ndarray): The mask, (h, w), of any kind.
        shape (tuple[int, int]): Height and width of the image.
    """
    if mask.shape != tuple(shape):
        return (f'is a mask of {mask.shape[0]} x {mask.shape[1]} pixels for an image of {shape[0]} x {shape[1]} '
                '(height x width)')
    return None
