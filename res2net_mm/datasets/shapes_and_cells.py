"""One detection set of two kinds of images: generated shapes, and photos of blood cells (the dataset BCCD)."""
from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from .shapes import CLASSES as SHAPES
from .shapes import write_annotations, write_shapes

CELLS = {'RBC': 'red blood cell', 'WBC': 'white blood cell', 'Platelets': 'platelet'}  # by BCCD's own names
CLASSES = (*SHAPES, *CELLS.values())
SPLITS = {'train2017': 'trainval', 'val2017': 'test'}  # of COCO's layout, and the lists of BCCD
FIRST_CELL_IMAGE = 100000  # the ids of shapes are lower


def write_shapes_and_cells(root: str | Path, bccd: str | Path, train: int = 600, val: int = 100) -> None:
    """Write the set in COCO 2017's layout; no image of val2017, shapes or cells, is in train2017.

    Beside ``annotations/instances_val2017.json`` there are ``shapes_val2017.json`` and ``cells_val2017.json``, with
    the images of one kind alone.

    Args:
        root (str | Path): Where to write.
        bccd (str | Path): The folder of BCCD, which holds ``BCCD/JPEGImages``, ``BCCD/Annotations`` and
            ``BCCD/ImageSets/Main``. Its list 'trainval' is trained on, and its list 'test' is held out.
        train (int): Number of training images with shapes. Defaults to 600.
        val (int): Number of validation images with shapes. Defaults to 100.

    Raises:
        UserError: If ``bccd`` is no such folder, or an annotation names another class.
    """
    root, source = Path(root), Path(bccd) / 'BCCD'
    if not (source / 'ImageSets' / 'Main').is_dir():
        raise UserError(f"'{bccd}' has no BCCD/ImageSets/Main; name the folder of the dataset BCCD "
                        '(https://github.com/Shenggan/BCCD_Dataset)')
    cells = {split: read_cells(source, name) for split, name in SPLITS.items()}
    write_shapes(root, train, val)
    for split, (images, boxes) in cells.items():
        for image in images:
            shutil.copyfile(source / 'JPEGImages' / image['file_name'], root / split / image['file_name'])
        shapes = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())
        kinds = {'shapes': (shapes['images'], shapes['annotations']), 'cells': (images, boxes)}
        kinds['instances'] = (shapes['images'] + images, shapes['annotations'] + boxes)
        for kind in kinds if split == 'val2017' else ('instances', ):
            write_annotations(root / 'annotations' / f'{kind}_{split}.json', *kinds[kind], CLASSES)


def read_cells(source: Path, name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the images and the boxes of one of BCCD's lists.

    Args:
        source (Path): The folder with ``JPEGImages``, ``Annotations`` and ``ImageSets``.
        name (str): The list: 'train', 'val', 'trainval' or 'test'.

    Returns:
        tuple[list[dict], list[dict]]: The images and the annotations in COCO's format, without the ids of the latter.
        Boxes of no area, of which BCCD has a few, are left out.

    Raises:
        UserError: If an annotation names a class that is not in ``CELLS``.
    """
    images, boxes = [], []
    for image_id, stem in enumerate((source / 'ImageSets' / 'Main' / f'{name}.txt').read_text().split(),
                                    FIRST_CELL_IMAGE):
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
                boxes.append(dict(image_id=image_id, category_id=CLASSES.index(CELLS[kind]) + 1, bbox=box,
                                  area=box[2] * box[3], iscrowd=0))
    return images, boxes
