"""Annotation files: every defect is found before the run, with the name of the file."""
import json

import pytest
from helpers import expect_bad_data
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks import BadDataError, check_data

pytest.importorskip('mmdet')


@pytest.mark.parametrize('count', [16, 17])
def test_keypoints(count, tmp_path):
    pytest.importorskip('mmpose')
    image = dict(id=1, file_name='1.png', height=32, width=32)
    person = dict(id=7, image_id=1, category_id=1, bbox=[1, 1, 20, 20], area=400, keypoints=[5, 5, 2] * count)
    path = tmp_path / 'persons.json'
    path.write_text(json.dumps(dict(images=[image], annotations=[person], categories=[dict(id=1, name='person')])))
    data = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='persons.json', data_prefix=dict(img=''))
    cfg = ConfigDict(default_scope='mmpose', train_dataloader=dict(dataset=data))
    if count == 17:
        check_data(cfg, ['train'])
        boxes = tmp_path / 'boxes.json'
        data.update(bbox_file=str(boxes), test_mode=True)
        cfg = ConfigDict(default_scope='mmpose', val_dataloader=dict(dataset=data))
        expect_bad_data(f'val_dataloader: {boxes}', check_data, cfg, ['val'])
        boxes.write_text(json.dumps([dict(image_id=2, category_id=1, bbox=[1, 1, 5, 5], score=1)]))
        expect_bad_data(f'{boxes}: detections that are not of the images', check_data, cfg, ['val'])
    else:
        expect_bad_data(f'{path}.*annotation 7: 48 numbers of keypoints; the dataset has 17', check_data, cfg,
                        ['train'])


def test_voc_xml(tmp_path):
    xml = tmp_path / 'VOC2007' / 'Annotations' / '1.xml'
    names = tmp_path / 'names.txt'
    names.write_text('1\n')
    data = dict(type='VOCDataset', data_root=str(tmp_path), ann_file='names.txt',
                data_prefix=dict(sub_data_root='VOC2007/'))
    cfg = ConfigDict(default_scope='mmdet', train_dataloader=dict(dataset=data))
    xml.parent.mkdir(parents=True)
    expect_bad_data(f'{xml} does not exist', check_data, cfg, ['train'])
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
    for text, message in (
        (f'<annotation><object><name>cat</name>{box}', f'{xml} cannot be read'),
        (f'<annotation><object><name>unicorn</name>{box}</object></annotation>', 'no image has an object of the class'),
        (f'<annotation><object><name>cat</name>{box.replace("9", "x")}</object></annotation>', f'{xml}: every object'),
    ):
        xml.write_text(text)
        expect_bad_data(message, check_data, cfg, ['train'])
    xml.write_text(f'<annotation><object><name>cat</name>{box}</object></annotation>')
    check_data(cfg, ['train'])
    names.write_text('')
    expect_bad_data(f'{names} is empty', check_data, cfg, ['train'])


def test_labels_of_images(tmp_path):
    pytest.importorskip('mmpretrain')
    names = tmp_path / 'train.txt'
    data = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='train.txt', data_prefix='',
                metainfo=dict(classes=('cat', 'dog')))
    cfg = ConfigDict(default_scope='mmpretrain', train_dataloader=dict(dataset=data))
    names.write_text('1.png 0\n2.png 1\n')
    check_data(cfg, ['train'])
    names.write_text('1.png 0\n2.png 2\n')
    expect_bad_data(f'{names}.*label from 0 to 1.*line 2: 2.png 2', check_data, cfg, ['train'])


def image_folders_config(root, **options):
    pytest.importorskip('mmpretrain')
    data = dict(type='ImageNet', data_root=str(root), split='val', **options)
    return ConfigDict(default_scope='mmpretrain', test_dataloader=dict(dataset=data))


@pytest.mark.parametrize('options, classes, images, message', [
    (dict(), 0, 0, 'val is empty: it must have a folder of images for every class'),
    (dict(), 1000, 0, r'val has no image \(.jpg, .*\) in any of its 1000 folders'),
    (dict(), 3, 3, 'val has 3 folders, c0, c1, c2, ...; the dataset has 1000 classes'),
    (dict(type='CustomDataset', split=None, data_prefix='val'), 2, 0, 'val has no image'),
    (dict(type='CustomDataset', split=None, data_prefix=dict(img_path='none')), 2, 0, 'none'),
    (dict(), 1000, 1, None),
    (dict(type='CustomDataset', split=None, data_prefix='val'), 2, 1, None),
], ids=['nothing', 'no image', 'few classes', 'no image of ours', 'no folder', 'good', 'ours good'])
def test_image_folders(options, classes, images, message, tmp_path):
    (tmp_path / 'val').mkdir()
    for label in range(classes):
        (tmp_path / 'val' / f'c{label}').mkdir()
        (tmp_path / 'val' / f'c{label}' / ('a.JPG' if label < images else 'notes.txt')).touch()
    cfg = image_folders_config(tmp_path)
    cfg.test_dataloader.dataset.update(options)
    if message is None:
        check_data(cfg, ('test', ))
    else:
        with pytest.raises(BadDataError, match=message):
            check_data(cfg, ('test', ))


def test_classes_that_look_elsewhere(tmp_path):
    """A subclass is checked as its base is, unless it finds its images in a way of its own."""
    from mmpretrain.datasets import ImageNet

    class Same(ImageNet):
        METAINFO = dict(classes=('a', 'b'))

    class Elsewhere(Same):
        def load_data_list(self):
            return []

    (tmp_path / 'val').mkdir()
    cfg = image_folders_config(tmp_path)
    for kind in (Elsewhere, 'Places205'):
        cfg.test_dataloader.dataset.type = kind
        check_data(cfg, ('test', ))
    cfg.test_dataloader.dataset.type = Same
    with pytest.raises(BadDataError, match='val is empty'):
        check_data(cfg, ('test', ))


def test_lists_of_imagenet(tmp_path):
    (tmp_path / 'meta').mkdir()
    (tmp_path / 'val').mkdir()
    (tmp_path / 'meta' / 'val.txt').write_text('a.JPEG 999\nb.JPEG 1000\n')
    with pytest.raises(BadDataError, match='(?s)val.txt: lines .* from 0 to 999:.*line 2: b.JPEG 1000'):
        check_data(image_folders_config(tmp_path), ('test', ))
