import json

import numpy as np
import pytest
from helpers import detection_config, segmentation_config, write_image
from mmengine.registry import init_default_scope
from PIL import Image

from res2net_mm.analysis.dataset_samples import build_dataset
from res2net_mm.analysis.dataset_sheet import CELL, GREY, MARGIN, class_colour, draw_dataset_sheet, draw_sample
from res2net_mm.analysis.dataset_summary import summarise_dataset
from res2net_mm.datasets.checks.configs import dataset_configs


def images_of(cfg, **options):
    init_default_scope(cfg.default_scope)
    config, = dataset_configs(cfg, 'train')
    return summarise_dataset(build_dataset(dict(config, **options))[0]).images


def has(cell, colour):
    return (abs(cell.image.astype(int) - colour) < 40).all(axis=2)  # lines are smooth


def write_turned_photo(root):
    """A photo of 100 x 50 pixels that EXIF turns, with boxes of three classes; its upper half, as it is seen, is red.

    One box covers the red half.
    """
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[:, :50] = 255, 0, 0
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / 'train2017').mkdir()
    Image.fromarray(pixels).save(root / 'train2017' / '0.jpg', exif=exif, quality=95)
    boxes = [([0, 0, 50, 50], 1, 0), ([5, 60, 20, 20], 2, 0), ([20, 85, 25, 10], 1, 1)]
    content = dict(
        images=[dict(id=0, file_name='0.jpg', width=50, height=100)],
        categories=[dict(id=1, name='[red]'), dict(id=2, name='black')],
        annotations=[dict(id=i, image_id=0, bbox=box, area=9, category_id=label, iscrowd=crowd, segmentation=[])
                     for i, (box, label, crowd) in enumerate(boxes)])
    (root / 'annotations').mkdir()
    (root / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))


def test_boxes_lie_as_the_model_sees_them(tmp_path):
    pytest.importorskip('mmdet')
    write_turned_photo(tmp_path)
    sample, = images_of(detection_config(tmp_path), metainfo=dict(classes=('[red]', 'black')))
    cell = draw_sample(sample)
    height, width = cell.image.shape[:2]
    assert height == 2 * width and cell.caption == ['train2017/0.jpg', '50 × 100  3 boxes']
    rows, columns = np.nonzero(has(cell, class_colour(0)))
    assert rows.max() - rows.min() > 0.45 * height and abs(rows.max() - height / 2) < 4
    red = cell.image[:height // 2, :, 0]
    assert (red > 200).mean() > 0.9  # the box is around the red half
    assert has(cell, class_colour(1)).any() and has(cell, GREY).any()
    assert [name[2] for name in cell.names] == ['[red]', 'black', '[red] (ignored)']


def test_a_mask_has_its_colours_and_names(masks):
    cell = draw_sample(images_of(segmentation_config(masks, 'train'))[0])
    assert [name[2] for name in cell.names] == ['nothing', 'thing', 'ignored (255)']
    assert has(cell, class_colour(1)).sum() > 50  # the outline
    scale = cell.scale[0]
    inside = cell.image[int(15 * scale), int(20 * scale)]
    outside = cell.image[int(40 * scale), int(40 * scale)]
    ignored = cell.image[0, 5]
    assert np.allclose(inside, 0.6 * 99 + 0.4 * np.array(class_colour(1)), atol=3)
    assert np.allclose(outside, 0.6 * 99 + 0.4 * np.array(class_colour(0)), atol=3)
    assert np.allclose(ignored, 0.6 * 99 + 0.4 * 230, atol=3)


def test_keypoints_and_skeleton(tmp_path):
    pytest.importorskip('mmpose')
    write_turned_photo(tmp_path)
    path = tmp_path / 'annotations' / 'instances_train2017.json'
    content = json.loads(path.read_text())
    keypoints = np.zeros((17, 3), int)
    keypoints[5], keypoints[6] = (10, 30, 2), (40, 30, 2)  # the shoulders
    for annotation in content['annotations']:
        annotation.update(keypoints=keypoints.ravel().tolist(), num_keypoints=2)
    path.write_text(json.dumps(content))
    cfg = detection_config(tmp_path)
    cfg.default_scope = 'mmpose'
    sample, = images_of(cfg, metainfo=None, pipeline=[dict(type='LoadImage')])
    cell = draw_sample(sample)
    middle = cell.image[cell.point(25, 30)[1], cell.point(25, 30)[0]]
    link = sample.dataset.metainfo['skeleton_links'].index((5, 6))
    assert (middle == sample.dataset.metainfo['skeleton_link_colors'][link]).all()
    assert cell.caption[1] == '50 × 100  2 objects with keypoints'


def test_a_sheet_has_a_cell_for_every_image_also_for_one_that_cannot_be_loaded(tmp_path, masks):
    cfg = segmentation_config(masks, 'train')
    samples = images_of(cfg) * 2
    (masks / 'JPEGImages' / 'b.jpg').unlink()
    failed = draw_dataset_sheet(samples, tmp_path / 'sheet.png')
    assert list(failed) == [str(masks / 'JPEGImages' / 'b.jpg')] and 'FileNotFoundError' in failed[samples[1].name]
    sheet = np.asarray(Image.open(tmp_path / 'sheet.png'))
    assert sheet.shape[1] == 4 * CELL
    # Two rows: of four and of two.
    used = [(sheet[-60 - 100:-60, i * CELL + MARGIN:(i + 1) * CELL - MARGIN] != 255).any() for i in range(4)]
    assert used == [True, True, False, False]


def test_images_of_other_kinds(tmp_path, masks):
    """Grey and 16-bit, and of one row."""
    pytest.importorskip('mmdet')
    cfg = segmentation_config(masks, 'train')
    for name, array in dict(a=np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20,
                            c=np.full((1, 4000), 77, np.uint8)).items():
        write_image(masks / 'JPEGImages' / f'{name}.png', array)
    write_image(masks / 'SegmentationClass' / 'c.png', np.zeros((1, 4000), np.uint8))
    options = dict(img_suffix='.png', pipeline=[dict(type='LoadImageFromFile', color_type='unchanged'),
                                                dict(type='LoadAnnotations')])
    images = {sample.name[-5]: sample for sample in images_of(cfg, **options)}
    assert draw_sample(images['a']).image.max() > 200
    assert draw_sample(images['c']).image.shape == (1, CELL - 2 * MARGIN, 3)
