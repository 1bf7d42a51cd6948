"""A detection set made on the spot: four shapes of every size on cluttered backgrounds, in COCO's format.

The size of an object is drawn log-uniformly over a factor of 8, so that small, medium and large ones are equally
common: what a multi-scale backbone is for.
"""
import json
from pathlib import Path

import cv2
import numpy as np

CLASSES = ('disc', 'square', 'triangle', 'cross')
SIZES = (16, 128)  # side of an object's box before it is turned, in pixels


def write_shapes(root, train=600, val=100, image_size=256, seed=0):
    """Write the set in COCO 2017's layout: train2017, val2017 and annotations.

    Args:
        root (str | Path): Where to write.
        train (int): Number of training images. Defaults to 600.
        val (int): Number of validation images; they share nothing with the training images. Defaults to 100.
        image_size (int): Side of the images in pixels, at least 192. Defaults to 256.
        seed (int): The same seed gives the same set. Defaults to 0.
    """
    if image_size < 192:
        raise ValueError(f'image_size={image_size} must be at least 192, or objects of {SIZES[1]} pixels do not fit')
    root = Path(root)
    for split, count, split_seed in (('train2017', train, 2 * seed), ('val2017', val, 2 * seed + 1)):
        rng = np.random.default_rng(split_seed)
        (root / split).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for image_id in range(1, count + 1):
            picture, objects = draw_image(rng, image_size)
            name = f'{image_id:06d}.png'
            cv2.imwrite(str(root / split / name), picture)
            images.append(dict(id=image_id, file_name=name, width=image_size, height=image_size))
            annotations += [describe(image_id, label, mask) for label, mask in objects]
        write_annotations(root / 'annotations' / f'instances_{split}.json', images, annotations)


def describe(image_id, label, mask):
    """An object of an image in COCO's format."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return dict(image_id=image_id, category_id=label + 1, bbox=list(cv2.boundingRect(mask)), area=int(mask.sum()),
                iscrowd=0, segmentation=[c.ravel().tolist() for c in contours if len(c) > 2])


def write_annotations(path, images, annotations):
    """Write a file of COCO's format."""
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    annotations = [dict(id=i + 1, **annotation) for i, annotation in enumerate(annotations)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def draw_image(rng, size):
    """One image, (size, size, 3) uint8 BGR, and its objects as (label, (size, size) uint8 mask of 0 and 1)."""
    picture = draw_background(rng, size)
    for _ in range(rng.integers(3, 8)):  # clutter: lines that belong to nothing
        start, end = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(picture, start, end, rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 4)))

    occupied, objects = np.zeros((size, size), np.uint8), []
    for _ in range(rng.integers(2, 7)):
        label = int(rng.integers(len(CLASSES)))
        mask = draw_mask(rng, CLASSES[label], size)
        if (occupied & mask).any():
            continue
        occupied |= cv2.dilate(mask, np.ones((5, 5), np.uint8))
        inside = mask.astype(bool)
        background = picture[inside].mean(0)
        colour = (background + rng.choice([-1, 1], 3) * rng.uniform(60, 120, 3)) % 255
        picture[inside] = colour + rng.normal(0, 6, (int(inside.sum()), 3))
        objects.append((label, mask))
    return np.clip(picture, 0, 255).astype(np.uint8), objects


def draw_background(rng, size):
    """A background of changing colour, (size, size, 3) floats."""
    coarse = rng.uniform(40, 215, (4, 4, 3)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 6, (size, size, 3))


def draw_mask(rng, shape, size, sizes=SIZES):
    """The (size, size) mask of one shape of random size, place and angle, wholly inside the image."""
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
