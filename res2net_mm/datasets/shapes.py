"""Generated images of four shapes of every size: sets for detection (in COCO's format), segmentation, classification.

The size of an object is drawn log-uniformly over a factor of 8, so that small, medium and large ones are equally
common: what a multi-scale backbone is for.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, Sequence

import cv2
import numpy as np

from ..utils.images import write_image
from .image_folders import write_image_of_class

CLASSES = ('disc', 'square', 'triangle', 'cross')
SIZES = (16, 128)  # of the detection set: side of an object's box before it is turned, in pixels
SMALL_SIZES = (5, 40)  # likewise, of the classification set


def write_shapes(root: str | Path, train: int = 600, val: int = 100, image_size: int = 256, seed: int = 0) -> None:
    """Write the detection set in COCO 2017's layout: train2017, val2017 and annotations.

    Args:
        root (str | Path): Where to write.
        train (int): Number of training images. Defaults to 600.
        val (int): Number of validation images; they share nothing with the training images. Defaults to 100.
        image_size (int): Side of the images in pixels, at least 192. Defaults to 256.
        seed (int): The same seed gives the same set. Defaults to 0.

    Raises:
        ValueError: If the images are too small.
    """
    _check_size(image_size)
    root = Path(root)
    for split, count, rng in _splits(('train2017', train), ('val2017', val), seed):
        (root / split).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for image_id in range(1, count + 1):
            image, objects = draw_image(rng, image_size)
            name = f'{image_id:06d}.png'
            write_image(root / split / name, image, durable=False)
            images.append(dict(id=image_id, file_name=name, width=image_size, height=image_size))
            annotations += [coco_annotation(image_id, label, mask) for label, mask in objects]
        write_annotations(root / 'annotations' / f'instances_{split}.json', images, annotations)


def write_segments(root: str | Path, train: int = 600, val: int = 100, image_size: int = 256, seed: int = 0) -> None:
    """Write the segmentation set: ``images/SPLIT/*.png`` and ``masks/SPLIT/*.png``, SPLIT being train and val.

    The images are those of ``write_shapes``. A mask is 1 in the shapes, whichever they are, and 0 in the background.

    Args:
        root (str | Path): Where to write.
        train (int): Number of training images. Defaults to 600.
        val (int): Number of validation images; they share nothing with the training images. Defaults to 100.
        image_size (int): Side of the images in pixels, at least 192. Defaults to 256.
        seed (int): The same seed gives the same set. Defaults to 0.

    Raises:
        ValueError: If the images are too small.
    """
    _check_size(image_size)
    for split, count, rng in _splits(('train', train), ('val', val), seed):
        images, masks = (Path(root) / kind / split for kind in ('images', 'masks'))
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(1, count + 1):
            image, objects = draw_image(rng, image_size)
            write_image(images / f'{index:06d}.png', image, durable=False)
            write_image(masks / f'{index:06d}.png', segmentation_mask(objects, image_size), durable=False)


def segmentation_mask(objects: Sequence[tuple[int, np.ndarray]], size: int) -> np.ndarray:
    """The labels of an image's pixels, (size, size) uint8: 1 in an object, and 0 in the background.

    Args:
        objects (Sequence[tuple[int, np.ndarray]]): As ``draw_image`` returns them.
        size (int): Side of the image in pixels.
    """
    return np.bitwise_or.reduce([np.zeros((size, size), np.uint8), *(mask for _, mask in objects)])


def write_sizes(root: str | Path, train: int = 2400, val: int = 2000, image_size: int = 64, seed: int = 0) -> None:
    """Write the classification set: images of one shape each.

    A shape is brighter than its background, whose colour changes. Its size is drawn log-uniformly from ``SMALL_SIZES``,
    a factor of 8; every class has as many images. Boxes and outlines are in ``annotations/train.json`` and
    ``val.json``, in COCO's format, for ``tools/visualization/cam.py``.

    Args:
        root (str | Path): Where to write.
        train (int): Number of training images. Defaults to 2400.
        val (int): Number of validation images; they share nothing with the training images. Defaults to 2000.
        image_size (int): Side of the images in pixels, at least 64. Defaults to 64.
        seed (int): The same seed gives the same set. Defaults to 0.

    Raises:
        ValueError: If the images are too small.
    """
    if image_size < 64:
        raise ValueError(f'image_size={image_size} must be at least 64, or objects of {SMALL_SIZES[1]} pixels do not '
                         'fit')
    for split, count, rng in _splits(('train', train), ('val', val), seed):
        images, annotations = [], []
        for index in range(count):
            name = CLASSES[index % len(CLASSES)]
            image, mask = draw_one_shape(rng, name, image_size)
            file = write_image_of_class(root, split, name, index, image)
            images.append(dict(id=index, file_name=file.name, width=image_size, height=image_size))
            annotations.append(coco_annotation(index, CLASSES.index(name), mask))
        write_annotations(Path(root) / 'annotations' / f'{split}.json', images, annotations)


def coco_annotation(image_id: int, label: int, mask: np.ndarray) -> dict[str, Any]:
    """Describe an object of an image in COCO's format.

    Args:
        image_id (int): The image.
        label (int): The class, an index of ``CLASSES``.
        mask (np.ndarray): (h, w) uint8 of 0 and 1.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return dict(image_id=image_id, category_id=label + 1, bbox=list(cv2.boundingRect(mask)), area=int(mask.sum()),
                iscrowd=0, segmentation=[c.ravel().tolist() for c in contours if len(c) > 2])


def write_annotations(path: Path, images: Sequence[dict], annotations: Sequence[dict],
                      classes: Sequence[str] = CLASSES) -> None:
    """Write a file in COCO's format; the categories are numbered from 1, in the order of ``classes``."""
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
    annotations = [dict(annotation, id=i + 1) for i, annotation in enumerate(annotations)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def draw_image(rng: np.random.Generator, size: int) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Draw an image of several objects.

    Args:
        rng (np.random.Generator): The source of all that is random.
        size (int): Side of the image in pixels.

    Returns:
        tuple[np.ndarray, list[tuple[int, np.ndarray]]]: The image, (size, size, 3) uint8 BGR, and for every object its
        label and its mask, (size, size) uint8 of 0 and 1.
    """
    image = draw_background(rng, size)
    for _ in range(rng.integers(3, 8)):  # clutter: lines that belong to nothing
        start, end = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(image, start, end, rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 4)))

    occupied, objects = np.zeros((size, size), np.uint8), []
    for _ in range(rng.integers(2, 7)):
        label = int(rng.integers(len(CLASSES)))
        mask = draw_mask(rng, CLASSES[label], size)
        if (occupied & mask).any():
            continue
        occupied |= cv2.dilate(mask, np.ones((5, 5), np.uint8))
        inside = mask.astype(bool)
        background = image[inside].mean(0)
        colour = (background + rng.choice([-1, 1], 3) * rng.uniform(60, 120, 3)) % 255
        image[inside] = colour + rng.normal(0, 6, (int(inside.sum()), 3))
        objects.append((label, mask))
    return np.clip(image, 0, 255).astype(np.uint8), objects


def draw_one_shape(rng: np.random.Generator, shape: str, size: int,
                   sizes: tuple[int, int] = SMALL_SIZES) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image of one shape, which is brighter than what is around it.

    Args:
        rng (np.random.Generator): The source of all that is random.
        shape (str): One of ``CLASSES``.
        size (int): Side of the image in pixels.
        sizes (tuple[int, int]): As of ``draw_mask``. Defaults to ``SMALL_SIZES``.

    Returns:
        tuple[np.ndarray, np.ndarray]: The image, (size, size, 3) uint8 BGR, and the mask, (size, size) uint8.
    """
    image = draw_background(rng, size)
    mask = draw_mask(rng, shape, size, sizes)
    image = 0.5 * image + rng.uniform(60, 120) * mask[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), mask


def draw_background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a background of changing colour, (size, size, 3) floats."""
    coarse = rng.uniform(40, 215, (4, 4, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (size, size, 3))


def draw_mask(rng: np.random.Generator, shape: str, size: int, sizes: tuple[int, int] = SIZES) -> np.ndarray:
    """Draw the mask of one shape of random size, place and angle, wholly inside the image.

    Args:
        rng (np.random.Generator): The source of all that is random.
        shape (str): One of ``CLASSES``.
        size (int): Side of the image in pixels.
        sizes (tuple[int, int]): The least and the greatest side of the shape's box before it is turned, in pixels.
            Defaults to ``SIZES``.

    Returns:
        np.ndarray: (size, size) uint8 of 0 and 1.
    """
    half = np.exp(rng.uniform(*np.log(sizes))) / 2
    reach = half * (1 if shape == 'disc' else 1.42) + 1
    centre = rng.uniform(reach, size - reach, 2)
    mask = np.zeros((size, size), np.uint8)
    if shape == 'disc':
        cv2.circle(mask, np.rint(centre).astype(int).tolist(), int(half), 1, -1)
        return mask
    arm = 0.34
    outline = {
        'square': [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        'triangle': [(0, -1), (0.95, 0.8), (-0.95, 0.8)],
        'cross': [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm), (arm, 1), (-arm, 1), (-arm, arm),
                  (-1, arm), (-1, -arm), (-arm, -arm)],
    }[shape]
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = np.rint(np.array(outline) * half @ turn.T + centre).astype(np.int32)
    cv2.fillPoly(mask, [points], 1)
    return mask


def _splits(train: tuple[str, int], val: tuple[str, int], seed: int) -> Iterator[tuple[str, int, np.random.Generator]]:
    """Names and numbers of images of two splits, each with random numbers of its own."""
    for i, (name, count) in enumerate((train, val)):
        yield name, count, np.random.default_rng(2 * seed + i)


def _check_size(image_size: int) -> None:
    if image_size < 192:
        raise ValueError(f'image_size={image_size} must be at least 192, or objects of {SIZES[1]} pixels do not fit')
