"""Images as an exported model takes them, and its outputs back in pixels of the image; by NumPy, OpenCV and Pillow.

Every function computes what the toolboxes' transforms compute, to the last bit. Pillow is needed where they resize by
it, as mmpretrain's do. What is done to an image stands in a dictionary, ``preprocess`` of an exported file, which
``res2net_mm/apis/exporting/preprocess.py`` reads from a config:

* ``patch``: None, or for keypoints ``{'size': (h, w), 'padding': 1.25}``: the part of the image around a box;
* ``resize``: None, or ``{'rule', 'size', 'interpolation', 'library'}``, see ``resized_size``;
* ``crop``: None, or (h, w) of the middle that is left;
* ``rgb``: whether the channels are turned round from B, G, R; ``mean`` and ``std``, in that order;
* ``pad_size``, ``pad_divisor`` and ``pad_value``: zeros below and on the right, after normalisation.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict

import cv2
import numpy as np

Preprocess = Dict[str, Any]
CV2_FILTERS = dict(nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC, area=cv2.INTER_AREA,
                   lanczos=cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class PreparedImage:
    """An image as a model takes it.

    Args:
        array (np.ndarray): (3, height, width) float32.
        resized (tuple[int, int]): Height and width of the image in it, without what was padded.
        to_image (np.ndarray): (2, 3) float64, the matrix from points of the array to points of the image.
    """

    array: np.ndarray
    resized: tuple[int, int]
    to_image: np.ndarray


def prepare_image(image: np.ndarray, preprocess: Preprocess, box: np.ndarray | None = None) -> PreparedImage:
    """Prepare an image.

    Args:
        image (np.ndarray): (h, w, 3) uint8, B, G, R.
        preprocess (dict): What to do, as above.
        box (np.ndarray | None): (4, ), left, top, right, bottom; what a ``patch`` is around. Defaults to None, the
            whole image.
    """
    height, width = image.shape[:2]
    to_image = np.array([[1., 0, 0], [0, 1, 0]])
    if preprocess['patch']:
        image, to_image = cut_patch(image, preprocess['patch'], box)
    elif preprocess['resize']:
        size = resized_size(height, width, preprocess['resize'])
        image = resize_image(image, size, preprocess['resize'])
        to_image = np.array([[width / size[1], 0, 0], [0, height / size[0], 0]])
    if preprocess['crop']:
        top, left = (max(0, round((old - new) / 2)) for old, new in zip(image.shape, preprocess['crop']))
        image = image[top:top + preprocess['crop'][0], left:left + preprocess['crop'][1]]
        to_image = to_image @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
    resized = image.shape[:2]
    array = (image[..., ::-1] if preprocess['rgb'] else image).astype(np.float32)
    array = (array - np.float32(preprocess['mean'])) / np.float32(preprocess['std'])
    below, right = (new - old for new, old in zip(padded_size(resized, preprocess), resized))
    array = np.pad(array, ((0, below), (0, right), (0, 0)), constant_values=preprocess['pad_value'])
    return PreparedImage(np.ascontiguousarray(array.transpose(2, 0, 1)), resized, to_image)


def resized_size(height: int, width: int, resize: dict) -> tuple[int, int]:
    """The size of an image after a resize.

    Args:
        height (int): Height of the image.
        width (int): Its width.
        resize (dict): ``rule`` and ``size``: 'fixed' to (h, w); 'keep_ratio', as large as its longer side is at most
            the larger number, and the shorter one the smaller; 'within', as large as it fits into (h, w); or 'short',
            'long', 'height', 'width', that side to a number, and the other one as the ratio is.

    Returns:
        tuple[int, int]: Height and width.
    """
    rule, size = resize['rule'], resize['size']
    if rule == 'fixed':
        return tuple(size)
    if rule in ('keep_ratio', 'within'):
        scale = (min(max(size) / max(height, width), min(size) / min(height, width)) if rule == 'keep_ratio'
                 else min(size[0] / height, size[1] / width))
        return int(height * scale + 0.5), int(width * scale + 0.5)
    of_width = rule == 'width' or (rule == 'short' and width < height) or (rule == 'long' and width > height)
    return (int(size * height / width), size) if of_width else (size, int(size * width / height))


def padded_size(size: tuple[int, int], preprocess: Preprocess) -> tuple[int, int]:
    """The height and width of an image of a size after padding."""
    least, divisor = preprocess['pad_size'] or (0, 0), preprocess['pad_divisor']
    return tuple(-(-max(side, low) // divisor) * divisor for side, low in zip(size, least))


def resize_image(image: np.ndarray, size: tuple[int, int], resize: dict) -> np.ndarray:
    """Resize an image, (h, w, 3) uint8, to a height and width by the ``library`` and ``interpolation`` of a resize."""
    if resize['library'] == 'cv2':
        return cv2.resize(image, size[::-1], interpolation=CV2_FILTERS[resize['interpolation']])
    from PIL import Image
    method = getattr(Image, resize['interpolation'].upper())
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def cut_patch(image: np.ndarray, patch: dict, box: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image around a box, grown and brought to one size, and the matrix from its points to the image's.

    Args:
        image (np.ndarray): (h, w, 3).
        patch (dict): ``size``, (h, w), and ``padding``, by which the box grows before it grows to the ratio of sides.
        box (np.ndarray | None): (4, ); None for the whole image.
    """
    height, width = patch['size']
    corners = np.float32([0, 0, image.shape[1], image.shape[0]] if box is None else box)
    centre = (corners[2:] + corners[:2]) * 0.5
    w, h = (corners[2:] - corners[:2]) * patch['padding']
    ratio = width / height
    w, h = (w, w / ratio) if w > h * ratio else (h * ratio, h)
    step = w / width
    matrix = np.array([[step, 0, centre[0] - w * 0.5], [0, h / height, centre[1] - h * 0.5]])
    source = np.float32([centre, centre + [-w * 0.5, 0], centre + [-w * 0.5, -w * 0.5]])
    target = np.float32([[width, height], [0, height], [0, height - width]]) * 0.5
    forward = cv2.getAffineTransform(source, target)
    return cv2.warpAffine(image, forward, (width, height), flags=cv2.INTER_LINEAR), matrix


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a matrix (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def enlarge_maps(maps: np.ndarray, prepared: PreparedImage, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    """Bring maps (c, height, width) of a model to the size of the image, without the padding; bilinear.

    Args:
        maps (np.ndarray): The maps.
        prepared (PreparedImage): What the model was given.
        size (tuple[int, int]): Height and width of the image.
        align_corners (bool): Whether the middles of corner pixels fall on each other, else the corners do.
    """
    maps = maps[:, :prepared.resized[0], :prepared.resized[1]]
    if maps.shape[1:] == tuple(size):
        return maps
    if align_corners:
        return interpolate_axis(interpolate_axis(maps, size[0], 1), size[1], 2)
    return np.stack([cv2.resize(np.ascontiguousarray(one), size[::-1], interpolation=cv2.INTER_LINEAR) for one in maps])


def interpolate_axis(maps: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Bring an axis of maps to a size, linearly, from the first value to the last."""
    place = np.linspace(0, maps.shape[axis] - 1, size)
    low = np.minimum(place.astype(int), max(maps.shape[axis] - 2, 0))
    high = np.minimum(low + 1, maps.shape[axis] - 1)
    part = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(maps.ndim)])
    return maps.take(low, axis) * (1 - part) + maps.take(high, axis) * part
