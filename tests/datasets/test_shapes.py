"""Generated shapes as image folders: the same for the same seed, described as they are, small and large."""
import json

import cv2
import numpy as np
import pytest

from res2net_mm.datasets.shapes import SMALL_SIZES, draw_mask, write_segments, write_shapes, write_sizes


def test_sizes(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        write_sizes(tmp_path / name, train=12, val=8, seed=seed)
    first, again, other = (
        [cv2.imread(str(path)) for path in sorted((tmp_path / name).glob('*/*/*.png'))] for name in 'abc')
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert {path.name: len(list(path.iterdir())) for path in (tmp_path / 'a' / 'train').iterdir()} == dict(
        cross=3, disc=3, square=3, triangle=3)
    assert not any(np.array_equal(first[i], first[j]) for i in range(20) for j in range(i))
    annotated = json.loads((tmp_path / 'a' / 'annotations' / 'val.json').read_text())
    assert len(annotated['annotations']) == len(annotated['images']) == 8
    for described, annotation in zip(annotated['images'], annotated['annotations']):
        name = annotated['categories'][annotation['category_id'] - 1]['name']
        image = cv2.imread(str(tmp_path / 'a' / 'val' / name / described['file_name']))
        x, y, w, h = annotation['bbox']
        assert image[y:y + h, x:x + w].mean() > image.mean() + 10  # the shape is brighter than what is around it
    with pytest.raises(ValueError, match='image_size=63'):
        write_sizes(tmp_path, image_size=63)


def test_sizes_vary_by_a_factor_of_8():
    rng = np.random.default_rng(0)
    sides = [max(cv2.boundingRect(draw_mask(rng, 'disc', 64, SMALL_SIZES))[2:]) for _ in range(400)]
    assert min(sides) <= 6 and 38 <= max(sides) <= 41
    assert np.median(sides) == pytest.approx((5 * 40)**0.5, rel=0.2)  # log-uniform: half are below the geometric mean


def test_segments_are_the_images_of_the_detection_set(tmp_path):
    write_segments(tmp_path / 'segments', train=2, val=1)
    write_shapes(tmp_path / 'shapes', train=2, val=1)
    for split, count in (('train', 2), ('val', 1)):
        annotated = json.loads((tmp_path / f'shapes/annotations/instances_{split}2017.json').read_text())
        for i in range(1, count + 1):
            image, mask, same = (cv2.imread(str(tmp_path / path), cv2.IMREAD_UNCHANGED) for path in (
                f'segments/images/{split}/{i:06d}.png', f'segments/masks/{split}/{i:06d}.png',
                f'shapes/{split}2017/{i:06d}.png'))
            assert np.array_equal(image, same) and mask.shape == (256, 256) and mask.dtype == np.uint8
            objects = [row for row in annotated['annotations'] if row['image_id'] == i]
            assert set(np.unique(mask)) == {0, 1} and mask.sum() == sum(row['area'] for row in objects)
    with pytest.raises(ValueError, match='image_size=191'):
        write_segments(tmp_path, image_size=191)
