"""Shapes and blood cells as one detection set, on a folder that is laid out as BCCD is."""
import json

import cv2
import pytest

from res2net_mm.datasets.shapes_and_cells import CLASSES, FIRST_CELL_IMAGE, write_shapes_and_cells
from res2net_mm.utils.errors import UserError


def read(root, name):
    content = json.loads((root / 'annotations' / f'{name}.json').read_text())
    assert [row['name'] for row in content['categories']] == list(CLASSES)
    assert [row['id'] for row in content['annotations']] == list(range(1, len(content['annotations']) + 1))
    return content


def test_writes_both(bccd, tmp_path):
    root = tmp_path / 'set'
    write_shapes_and_cells(root, bccd, train=3, val=2)
    train, val = (read(root, f'instances_{split}2017') for split in ('train', 'val'))
    assert [image['file_name'] for image in train['images']] == ['000001.png', '000002.png', '000003.png', 'a.jpg']
    assert [image['file_name'] for image in val['images']] == ['000001.png', '000002.png', 'b.jpg', 'c.jpg']
    for split, content in (('train2017', train), ('val2017', val)):
        for image in content['images']:
            assert cv2.imread(str(root / split / image['file_name'])).shape[:2] == (image['height'], image['width'])
    cells = read(root, 'cells_val2017')
    assert [(CLASSES[row['category_id'] - 1], row['bbox'], row['image_id'] - FIRST_CELL_IMAGE)
            for row in cells['annotations']] == [  # VOC's pixels count from 1; what is outside or empty is cut off
                ('white blood cell', [0, 10, 64, 38], 0), ('platelet', [59, 39, 5, 9], 1)]
    assert train['annotations'][-1]['bbox'] == [0, 0, 40, 30]
    shapes = read(root, 'shapes_val2017')
    assert len(shapes['annotations']) + len(cells['annotations']) == len(val['annotations'])
    assert {row['category_id'] for row in shapes['annotations']} <= {1, 2, 3, 4}


def test_says_what_is_not_bccd(bccd, tmp_path):
    with pytest.raises(UserError, match='has no BCCD/ImageSets/Main; name the folder of the dataset BCCD'):
        write_shapes_and_cells(tmp_path / 'set', bccd / 'BCCD')
    file = bccd / 'BCCD' / 'Annotations' / 'c.xml'
    file.write_text(file.read_text().replace('Platelets', 'Parasite'))
    with pytest.raises(UserError, match=r"c\.xml: class 'Parasite' must be one of RBC, WBC, Platelets"):
        write_shapes_and_cells(tmp_path / 'set', bccd)
    assert not (tmp_path / 'set').exists()
