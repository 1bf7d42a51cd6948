"""Masks of an image from masks of boxes; NumPy alone."""
from __future__ import annotations

import numpy as np

THRESHOLD = 0.5  # mmdet's mask_thr_binary


def paste_masks(masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int],
                threshold: float = THRESHOLD) -> np.ndarray:
    """Bring the masks of boxes to the size of an image.

    A pixel belongs to an object if the mask of its box, interpolated bilinearly at the centre of the pixel, with zeros
    around, reaches the threshold; that is mmdet's rule.

    Args:
        masks (np.ndarray): (n, s, s) float32, the probabilities within boxes.
        boxes (np.ndarray): (n, 4): left, top, right, bottom, in pixels of the image.
        size (tuple[int, int]): Height and width of the image.
        threshold (float): The least probability of a pixel that belongs to the object. Defaults to 0.5.

    Returns:
        np.ndarray: (n, height, width) bool.
    """
    out = np.zeros((len(masks), *size), bool)
    for full, mask, (left, top, right, bottom) in zip(out, masks, np.asarray(boxes, np.float32)):
        rows, down = _weights(top, bottom, size[0], mask.shape[0])
        columns, across = _weights(left, right, size[1], mask.shape[1])
        full[rows, columns] = down @ mask @ across.T >= threshold
    return out


def _weights(start: float, end: float, limit: int, cells: int) -> tuple[slice, np.ndarray]:
    """Which pixels of an axis a box reaches, and how much of each of its cells is in each of these pixels."""
    pixels = np.arange(max(int(np.floor(start)) - 1, 0), min(int(np.ceil(end)) + 1, limit))
    places = (pixels + np.float32(0.5) - start) / max(end - start, np.float32(1e-6)) * cells - np.float32(0.5)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(cells, dtype=np.float32)))
    return slice(pixels[0], pixels[-1] + 1) if len(pixels) else slice(0, 0), weights.astype(np.float32)
