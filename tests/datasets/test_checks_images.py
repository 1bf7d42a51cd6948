"""Images and masks to evaluate on: every defect stops the run before it starts. Sizes of those to train on."""
import json
import os
import time

import cv2
import numpy as np
import pytest
from helpers import (
    MASK_DEFECTS,
    detection_config,
    expect_bad_data,
    segmentation_config,
    write_turned_image,
    write_unknown_label,
)
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from res2net_mm.datasets.checks import BuiltSplit, check_data, check_splits, skip_bad_samples
from res2net_mm.datasets.checks.sharing import check_files


def built(cfg):
    """The validation set of a config."""
    init_default_scope(cfg.default_scope)
    return [BuiltSplit('val', [DATASETS.build(cfg.val_dataloader.dataset)])]


@pytest.mark.slow
@pytest.mark.parametrize('name, spoil, message', MASK_DEFECTS)
def test_images_and_masks_to_evaluate_on(name, spoil, message, masks):
    cfg = segmentation_config(masks, 'val')
    check_data(cfg, ['val'])
    check_splits(built(cfg))
    spoil(masks / name)
    expect_bad_data(f'1 (images|masks) to evaluate.*{masks / name} .*{message}', check_splits, built(cfg))


def test_masks_that_a_class_of_ones_own_loads(masks):
    """It is checked as its base is, unless it reads another kind of file."""
    cfg = segmentation_config(masks, 'val')
    from mmseg.datasets.transforms import LoadAnnotations

    class ReadLabels(LoadAnnotations):
        pass

    class ReadOtherLabels(LoadAnnotations):
        def _load_seg_map(self, results):
            pass

    write_unknown_label(masks / 'SegmentationClass' / 'b.png')
    cfg.val_dataloader.dataset.pipeline[1].type = ReadOtherLabels
    check_splits(built(cfg))
    cfg.val_dataloader.dataset.pipeline[1].type = ReadLabels
    expect_bad_data('b.png is a mask with label 2', check_splits, built(cfg))


# Sizes.


def write_photos(root, count, turned, orientation=6):
    """Photos in COCO's format, annotated as 40 x 64 pixels (height x width), some of which EXIF turns."""
    for folder in ('annotations', 'train2017', 'val2017'):
        (root / folder).mkdir()
    images = [dict(id=i, file_name=f'{i}.jpg', height=40, width=64) for i in range(count)]
    objects = [dict(id=i, image_id=i, category_id=1, bbox=[30, 5, 30, 20], area=600, iscrowd=0,
                    keypoints=[40, 10, 2] * 17, num_keypoints=17) for i in range(count)]
    data = json.dumps(dict(images=images, annotations=objects, categories=[dict(id=1, name='person')]))
    for split in ('train', 'val'):
        (root / 'annotations' / f'instances_{split}2017.json').write_text(data)
        for i in range(count):
            write_turned_image(root / f'{split}2017' / f'{i}.jpg', orientation if i < turned else None)


def photo_split(root, name, toolbox='mmdet', color_type='color', wrapped=False):
    """The photos as a dataset of mmdet or mmpose."""
    pytest.importorskip(toolbox)
    cfg = detection_config(root, name)
    data = cfg[f'{name}_dataloader'].dataset
    data.metainfo = dict(classes=('person', ))
    data.pipeline[0].color_type = color_type
    if toolbox == 'mmpose':
        cfg = ConfigDict({'default_scope': 'mmpose', f'{name}_dataloader': dict(dataset=dict(
            type='CocoDataset', data_root=str(root), ann_file=data.ann_file, data_prefix=data.data_prefix,
            test_mode=name == 'val', pipeline=[dict(type='LoadImage')]))})
    if wrapped:
        cfg[f'{name}_dataloader'].dataset = dict(type='RepeatDataset', times=2, dataset=data)
    skip_bad_samples(cfg)
    init_default_scope(cfg.default_scope)
    built = DATASETS.build(cfg[f'{name}_dataloader'].dataset)
    return BuiltSplit(name, [built.dataset if wrapped else built])


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmpose'])
def test_turned_photos_to_evaluate_on(toolbox, tmp_path):
    write_photos(tmp_path, 3, 1)
    expect_bad_data('1 images to evaluate on.*/0.jpg is 64 x 40 pixels .* annotated as 40 x 64: its EXIF orientation',
                    check_splits, [photo_split(tmp_path, 'val', toolbox)])


def test_turned_photos_that_are_loaded_as_they_are_stored(tmp_path):
    write_photos(tmp_path, 3, 3)
    check_splits([photo_split(tmp_path, name, color_type='color_ignore_orientation') for name in ('train', 'val')])


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmpose'])
def test_turned_photos_to_train_on(toolbox, tmp_path, monkeypatch):
    """Up to 5 % are skipped, and named before the run and when they come; more stop it."""
    write_photos(tmp_path, 20, 1)
    said = []
    for module in ('checks.problems', 'transforms.skip_bad_sample'):
        monkeypatch.setattr(f'res2net_mm.datasets.{module}.warn', said.append)
    split = photo_split(tmp_path, 'train', toolbox)
    check_splits([split])
    assert '1 of 20 training images have another size' in said[0] and '0.jpg is 64 x 40' in said[0], said
    for _ in range(10):
        assert split.datasets[0][0]['img'].shape == (40, 64, 3)
    assert len(said) == 2 and '0.jpg is 64 x 40 pixels' in said[1] and 'EXIF' in said[1], said

    write_turned_image(tmp_path / 'train2017' / '1.jpg', 8)
    expect_bad_data('2 of 20 training images .*more than 5% of them.*/1.jpg is 64 x 40',
                    check_splits, [photo_split(tmp_path, 'train', toolbox)])


def test_turned_photos_in_a_wrapper(tmp_path):
    write_photos(tmp_path, 3, 1)
    expect_bad_data('1 of 3 training images', check_splits, [photo_split(tmp_path, 'train', wrapped=True)])


def test_a_million_images_without_sizes_are_not_gone_through(masks, monkeypatch):
    cfg = segmentation_config(masks, 'train')
    init_default_scope(cfg.default_scope)
    split = BuiltSplit('train', [DATASETS.build(cfg.train_dataloader.dataset)])
    asked, ask = [], BuiltSplit.annotations

    def annotations(dataset):
        for info in ask(dataset):
            asked.append(info['img_path'])
            yield info

    monkeypatch.setattr(BuiltSplit, 'annotations', staticmethod(annotations))
    check_splits([split])
    assert len(asked) == 1


def test_missing_images_to_train_on_are_no_matter_of_sizes(tmp_path):
    write_photos(tmp_path, 3, 0)
    (tmp_path / 'train2017' / '0.jpg').unlink()
    check_splits([photo_split(tmp_path, 'train')])


def test_size_in_the_xml_files_of_voc(tmp_path):
    pytest.importorskip('mmdet')
    for folder in ('JPEGImages', 'Annotations'):
        (tmp_path / folder).mkdir()
    write_turned_image(tmp_path / 'JPEGImages' / 'a.jpg')
    (tmp_path / 'names.txt').write_text('a\n')
    data = dict(type='VOCDataset', data_root=str(tmp_path), ann_file='names.txt', test_mode=True,
                data_prefix=dict(sub_data_root=''), pipeline=[dict(type='LoadImageFromFile')])
    init_default_scope('mmdet')
    for size, message in (((40, 64), None), ((0, 0), None), ((64, 40), 'width and height are exchanged')):
        (tmp_path / 'Annotations' / 'a.xml').write_text(
            f'<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size></annotation>')
        split = BuiltSplit('val', [DATASETS.build(data)])
        if message:
            expect_bad_data(message, check_splits, [split])
        else:
            check_splits([split])


# Images from the wild.


def damage_the_middle(path):
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def write_harmless_damage(path):
    """A PNG with a chunk of text whose checksum is wrong."""
    Image.new('RGB', (64, 48)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:33] + b'\0\0\0\4tEXtwordnone' + content[33:])


@pytest.mark.parametrize('name, write, message', [
    ('b.png', damage_the_middle, 'cannot be decoded'),
    ('b.png', write_harmless_damage, None),
    ('b.png', lambda path: Image.new('RGB', (64, 48)).save(path, 'PCX'), 'of the format PCX'),
    ('b.tif', lambda path: Image.fromarray(np.ones((48, 64), np.float32)).save(path), 'cannot be decoded'),
    ('b.tif', lambda path: cv2.imwrite(str(path), np.ones((48, 64, 3), np.float32)), None),
    ('b.bmp', lambda path: Image.new('RGB', (64, 48)).save(path) or path.write_bytes(path.read_bytes()[:999]),
     'cannot be decoded'),
    ('b.png', lambda path: Image.new('RGB', (4000, 1)).save(path), 'one side is more than 200 times'),
    ('b.png', lambda path: cv2.imwrite(str(path), np.ones((48, 64), np.uint16)), None),
    ('b.jpg', lambda path: Image.new('CMYK', (64, 48)).save(path), None),
    ('b.webp', lambda path: Image.new('RGB', (64, 48)).save(path, save_all=True, append_images=[
        Image.new('RGB', (64, 48), 'red')]), None),
])
def test_image_to_evaluate_on(name, write, message, tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'list.txt').write_text(f'{name} 0\n')
    write(tmp_path / name)
    init_default_scope('mmpretrain')
    split = BuiltSplit('test', [DATASETS.build(dict(
        type='CustomDataset', data_root=str(tmp_path), ann_file='list.txt', data_prefix='', test_mode=True,
        pipeline=[dict(type='LoadImageFromFile')]))])
    if message:
        expect_bad_data(f'1 images to evaluate on are bad:.*{name} .*{message}', check_splits, [split])
    else:
        check_splits([split])
        assert split.datasets[0][0]['img'].shape == (48, 64, 3)


def test_keys_of_a_database_are_no_files(masks):
    cfg = segmentation_config(masks, 'val')
    (masks / 'JPEGImages' / 'b.jpg').unlink()
    cfg.val_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile', backend_args=dict(backend='lmdb', db_path='x'))]
    check_splits(built(cfg))


# Sharing.


def test_files_are_checked_once_and_in_order():
    asked = []

    def check(number):
        asked.append(number)
        return f'{number} is odd' if number % 2 else None

    assert list(check_files([5, 3, 2, 3, 1] * 20, check, '').items()) == [
        (5, '5 is odd'), (3, '3 is odd'), (1, '1 is odd')]
    assert sorted(asked) == [1, 2, 3, 5]
    with pytest.raises(ZeroDivisionError):
        check_files([1, 0], lambda number: 1 // number and None, '')


# Cost.


class ListedImages(BaseDataset):
    """A dataset of so many images of annotated sizes."""

    def __init__(self, paths, **options):
        self.paths = paths
        super().__init__(pipeline=[dict(type='LoadImageFromFile')], **options)

    def load_data_list(self):
        return [dict(img_path=path, height=48, width=64) for path in self.paths]


@pytest.mark.soak
@pytest.mark.parametrize('split', ['train', 'val'])
def test_100_000_images(split, tmp_path):
    """Their headers take less than 60 seconds of one core."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(1000):
        path = tmp_path / f'{number}.jpg'
        cv2.imwrite(str(path), rng.integers(0, 255, (48, 64, 3), np.uint8))
        for copy in range(100):
            paths.append(str(tmp_path / f'{number}_{copy}.jpg'))
            os.link(path, paths[-1])
    init_default_scope('mmdet')
    images = BuiltSplit(split, [ListedImages(paths)])
    start, cpu = time.perf_counter(), time.process_time()
    check_splits([images])
    seconds = time.perf_counter() - start
    print(f'{len(paths)} images ({split}): {seconds:.0f} s, {time.process_time() - cpu:.0f} s of CPU')
    assert seconds < 60
    os.remove(paths[-1])
    Image.new('RGB', (48, 64)).save(paths[-1])
    if split == 'val':
        expect_bad_data('1 images to evaluate on are bad', check_splits, [images])
