"""The dataset BCCD: 364 photos of blood cells with boxes, in VOC's layout.

Source: https://github.com/Shenggan/BCCD_Dataset, whose licence is MIT.
"""
from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from .shapes import write_annotations

CELLS = {'RBC': 'red blood cell', 'WBC': 'white blood cell', 'Platelets': 'platelet'}  # by BCCD's own names
CLASSES = tuple(CELLS.values())
SPLITS = {'train2017': 'trainval', 'val2017': 'test'}  # of COCO's layout, and the lists of BCCD


def find_bccd(folder: str | Path) -> Path:
    """The folder ``BCCD`` in a copy of the dataset.

    Raises:
        UserError: If there is none.
    """
    source = Path(folder) / 'BCCD'
    if not (source / 'ImageSets' / 'Main').is_dir():
        raise UserError(f"'{folder}' has no BCCD/ImageSets/Main; name the folder of the dataset BCCD "
                        '(https://github.com/Shenggan/BCCD_Dataset)')
    return source


def write_cells(root: str | Path, bccd: str | Path) -> None:
    """Write the set in COCO 2017's layout: 'trainval' of BCCD as train2017, and 'test' as val2017.

    Args:
        root (str | Path): Where to write.
        bccd (str | Path): The folder of BCCD, which holds ``BCCD/JPEGImages``, ``BCCD/Annotations`` and
            ``BCCD/ImageSets/Main``.

    Raises:
        UserError: If ``bccd`` is no such folder, or an annotation names another class.
    """
    source = find_bccd(bccd)
    for split, name in SPLITS.items():
        images, boxes = read_cells(source, name)
        copy_images(source, images, Path(root) / split)
        write_annotations(Path(root) / 'annotations' / f'instances_{split}.json', images, boxes, CLASSES)


def copy_images(source: Path, images: Sequence[dict[str, Any]], target: Path) -> None:
    """Copy the files of images, as ``read_cells`` returns them, to a folder."""
    target.mkdir(parents=True, exist_ok=True)
    for image in images:
        shutil.copyfile(source / 'JPEGImages' / image['file_name'], target / image['file_name'])


def read_cells(source: Path, name: str, classes: Sequence[str] = CLASSES,
               first_id: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the images and the boxes of one of BCCD's lists.

    Args:
        source (Path): The folder with ``JPEGImages``, ``Annotations`` and ``ImageSets``.
        name (str): The list: 'train', 'val', 'trainval' or 'test'.
        classes (Sequence[str]): The classes of the set, which are numbered from 1. Defaults to BCCD's three.
        first_id (int): The id of the first image. Defaults to 1.

    Returns:
        tuple[list[dict], list[dict]]: The images and the annotations in COCO's format, without the ids of the latter.
        Boxes of no area, of which BCCD has a few, are left out.

    Raises:
        UserError: If an annotation names a class that is not in ``CELLS``.
    """
    images, boxes = [], []
    for image_id, stem in enumerate((source / 'ImageSets' / 'Main' / f'{name}.txt').read_text().split(), first_id):
        file = source / 'Annotations' / f'{stem}.xml'
        tree = ElementTree.parse(file)
        width, height = (int(tree.findtext(f'size/{side}', '')) for side in ('width', 'height'))
        images.append(dict(id=image_id, file_name=f'{stem}.jpg', width=width, height=height))
        for cell in tree.iter('object'):
            kind = cell.findtext('name', '')
            if kind not in CELLS:
                raise UserError(f"{file}: class '{kind}' must be one of {', '.join(CELLS)}")
            left, top, right, bottom = (int(cell.findtext(f'bndbox/{side}', ''))
                                        for side in ('xmin', 'ymin', 'xmax', 'ymax'))
            left, top = max(left - 1, 0), max(top - 1, 0)  # VOC counts pixels from 1, and the last one is inside
            box = [left, top, min(right, width) - left, min(bottom, height) - top]
            if min(box[2:]) > 0:
                boxes.append(dict(image_id=image_id, category_id=classes.index(CELLS[kind]) + 1, bbox=box,
                                  area=box[2] * box[3], iscrowd=0))
    return images, boxes
