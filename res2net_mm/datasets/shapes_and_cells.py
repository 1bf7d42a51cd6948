"""One detection set of two kinds of images: generated shapes, and photos of blood cells (the dataset BCCD)."""
from __future__ import annotations

import json
from pathlib import Path

from .blood_cells import CLASSES as CELLS
from .blood_cells import SPLITS, copy_images, find_bccd, read_cells
from .shapes import CLASSES as SHAPES
from .shapes import write_annotations, write_shapes

CLASSES = (*SHAPES, *CELLS)
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
    root, source = Path(root), find_bccd(bccd)
    cells = {split: read_cells(source, name, CLASSES, FIRST_CELL_IMAGE) for split, name in SPLITS.items()}
    write_shapes(root, train, val)
    for split, (images, boxes) in cells.items():
        copy_images(source, images, root / split)
        shapes = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())
        kinds = {'shapes': (shapes['images'], shapes['annotations']), 'cells': (images, boxes)}
        kinds['instances'] = (shapes['images'] + images, shapes['annotations'] + boxes)
        for kind in kinds if split == 'val2017' else ('instances', ):
            write_annotations(root / 'annotations' / f'{kind}_{split}.json', *kinds[kind], CLASSES)
