"""Checks of boxes and areas in a file in COCO's format: what mmdet leaves out, and how pycocotools scores them."""
from __future__ import annotations

import math
from typing import Iterable, Iterator

from .coco_file import CocoFile
from .problems import Problem, list_defects


def share_inside(box: list, image: dict) -> float:
    """The share of a box that is inside of its image: 0 also for a box without area."""
    x, y, width, height = box
    if x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= image['width'] and y + height <= image['height']:
        return 1.0  # most are
    if width <= 0 or height <= 0:
        return 0.0
    inside_x = min(x + width, image['width']) - max(x, 0)
    inside_y = min(y + height, image['height']) - max(y, 0)
    return inside_x * inside_y / (width * height) if inside_x > 0 and inside_y > 0 else 0.0


def left_out_reason(annotation: dict, image: dict) -> str | None:
    """Why mmdet leaves an object out when it loads the file, or None."""
    box, area = annotation['bbox'], annotation['area']
    if box[2] < 1 or box[3] < 1:
        return f'bbox {box} is less than a pixel wide or high'
    if not share_inside(box, image):
        return f'bbox {box} is outside of its image of {image["width"]} x {image["height"]}'
    return f'area {area} is not above 0' if area <= 0 else None


def check_left_out(file: CocoFile, annotations: list[dict], reasons: list[str | None], split: str) -> Iterator[Problem]:
    """Warn of objects that mmdet leaves out when it loads the file; if these are all, it is an error.

    Args:
        file (CocoFile): The file.
        annotations (list[dict]): Its objects of the classes of the dataset.
        reasons (list[str | None]): Of each, why mmdet leaves it out, or None.
        split (str): The split, for the message.
    """
    left_out = [f'annotation {item["id"]}: {reason}' for item, reason in zip(annotations, reasons) if reason]
    yield from list_defects(f'{file.path}: mmdet leaves {len(left_out)} of {len(annotations)} objects out of the '
                            f'{split} dataset:', left_out, fatal=len(left_out) == len(annotations))


def check_scored_boxes(file: CocoFile, annotations: Iterable[dict]) -> Iterator[Problem]:
    """Warn of objects of which pycocotools makes something else than one object to be found.

    Args:
        file (CocoFile): The file that is evaluated.
        annotations (Iterable[dict]): Its objects of the classes of the dataset. Crowds are none.
    """
    missed, ignored, sized, zero = [], [], [], []
    for annotation in annotations:
        if annotation.get('iscrowd'):
            continue
        label, area = f'annotation {annotation["id"]}', annotation['area']
        if annotation['id'] == 0:
            zero.append(label)
        if math.isnan(area):
            sized.append(label)
        if area < 0 or area > 1e10:  # pycocotools' range for objects of all sizes
            ignored.append(f'{label}: area {area}')
        elif share_inside(annotation['bbox'], file.images[annotation['image_id']]) < 0.5:
            missed.append(f'{label}: bbox {annotation["bbox"]}')
    path = file.path
    yield from list_defects(f'{path}: {len(missed)} objects have a box without area, or more than half outside of the '
                            'image; no detection overlaps it enough, and each counts as an object that was missed:',
                            missed, fatal=False)
    yield from list_defects(f'{path}: {len(ignored)} objects have an area below 0 or without end; pycocotools leaves '
                            'them out of the score:', ignored, fatal=False)
    yield from list_defects(f'{path}: {len(sized)} objects have the area NaN; pycocotools counts each among the small, '
                            'the medium and the large ones:', sized, fatal=False)
    yield from list_defects(f'{path}: an object has the id 0, which to pycocotools means that nothing was found: a '
                            'detection of it counts as a wrong one; let the ids begin at 1:', zero, fatal=False)
