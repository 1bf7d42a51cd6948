"""Annotation files: every defect is found before the run, with the name of the file."""
import json
import re

import pytest
from helpers import expect_bad_data, segmentation_config
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks import BadDataError, check_data
from res2net_mm.datasets.checks.configs import check_annotations, dataset_settings

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


def voc_config(root, split='train', **options):
    data = dict(type='VOCDataset', data_root=str(root), ann_file='names.txt', test_mode=split == 'val',
                data_prefix=dict(sub_data_root='VOC2007/'), metainfo=dict(classes=('cat', 'dog')), **options)
    return ConfigDict({'default_scope': 'mmdet', f'{split}_dataloader': dict(dataset=data)})


def write_voc(root, *objects, size=(100, 80), names='1\n'):
    """An image with objects of a name and a box, and what stands behind these in XML."""
    (root / 'VOC2007' / 'Annotations').mkdir(parents=True, exist_ok=True)
    (root / 'names.txt').write_text(names)
    sides = ('xmin', 'ymin', 'xmax', 'ymax')
    inside = [f'<object><name>{name}</name>{rest}<bndbox>' + ''.join(
        f'<{side}>{number}</{side}>' for side, number in zip(sides, box)) + '</bndbox></object>'
        for name, box, rest in objects]
    written = '' if size is None else f'<size><width>{size[0]}</width><height>{size[1]}</height></size>'
    (root / 'VOC2007' / 'Annotations' / '1.xml').write_text(f'<annotation>{written}{"".join(inside)}</annotation>')


BOX = (10, 10, 60, 60)


@pytest.mark.parametrize('objects, options, fatal, message', [
    ([('cat', BOX, '')], {}, None, None),
    ([('cat', BOX, '<difficult>1</difficult>')], dict(size=None), None, None),
    ([('cat', BOX, '<difficult>no</difficult>')], {}, True, "1.xml: every object needs .*'no'"),
    ([('cat', BOX, '<difficult/>')], {}, True, '1.xml: every object needs'),
    ([('cat', ('a', 1, 2, 3), '')], {}, True, "1.xml: every object needs .*'a'"),
    ([('cat', ('nan', 1, 2, 3), '')], {}, True, '1.xml: every object needs .*not finite'),
    ([('cat', BOX, '')], dict(size=(100, '')), True, '1.xml: every object needs .* size an integer'),
    ([('cat', BOX, '')], dict(size=('100.5', 80)), True, "1.xml: every object needs .* size an integer .*100.5"),
    ([('cat', BOX, '')], dict(size=(0, 0)), False, '1 images have a width or height of 0'),
    ([('cat', (10, 10, 30, 95), '')], {}, False, 'look swapped .*1.xml: width 100, height 80; boxes reach to 30, 95'),
    ([('cat', BOX, ''), ('cat', (10, 10, 10, 60), '')], {}, True, r'1 of 2 boxes have no width .*bndbox \[10, 10, 10'),
    ([('cat', BOX, ''), ('Dog ', BOX, '')], {}, True, "'Dog ' \\(1 objects\\), the class is 'dog'"),
    ([('cat', BOX, '')], dict(names='1\n1\n'), False, r'listed more than once:.*1 \(2 times\)'),
    ([('cow', BOX, '')], {}, True, r"no image has an object of the classes \('cat', 'dog'\)"),
])
def test_one_fault_in_voc_xml(objects, options, fatal, message, tmp_path):
    write_voc(tmp_path, *objects, **options)
    found = problems(voc_config(tmp_path), 'train')
    assert [problem.fatal for problem in found] == ([] if fatal is None else [fatal]), found
    assert message is None or re.search(message, found[0].message, re.DOTALL), found


def test_boxes_without_width_in_voc_xml(tmp_path):
    """They make mmdet's loss NaN, count as missed in an evaluation, and may be left out in two ways."""
    write_voc(tmp_path, ('cat', BOX, ''), ('cat', (10, 10, 10, 60), ''))
    found = problems(voc_config(tmp_path, 'val'), 'val')
    assert len(found) == 1 and not found[0].fatal and 'counts as an object that was missed' in found[0].message
    check_data(voc_config(tmp_path, filter_cfg=dict(bbox_min_size=1)), ['train'])
    check_data(voc_config(tmp_path, pipeline=[dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))]), ['train'])
    expect_bad_data('min_size=80 or less', check_data, voc_config(
        tmp_path, filter_cfg=dict(bbox_min_size=1, min_size=81)), ['train'])


def problems(cfg, split):
    return [problem for settings in dataset_settings(cfg, split) for problem in check_annotations(settings)]


@pytest.mark.parametrize('line, message', [
    ('2.png -1', 'line 2: 2.png -1'), ('2.png', 'line 2: 2.png'), ('2.png two', 'line 2: 2.png two'), (
        '2.png 1.0', 'line 2: 2.png 1.0'), ('2.png 2', 'label from 0 to 1:.*line 2: 2.png 2'), (
        '2.png\t1', 'line 2'), ('1', 'line 2: 1'), ('1.png 1', r'more than once:.*1.png \(2 times\)'), (
        'a b.png 1', None),
])
def test_one_bad_line_of_a_classification_list(line, message, tmp_path):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'train.txt').write_text(f'1.png 0\n{line}\n')
    data = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='train.txt', data_prefix='',
                classes=('cat', 'dog'))
    found = problems(ConfigDict(default_scope='mmpretrain', train_dataloader=dict(dataset=data)), 'train')
    assert len(found) == (message is not None), found
    assert message is None or re.search(f'{tmp_path}/train.txt: .*{message}', found[0].message, re.DOTALL), found


@pytest.mark.parametrize('content, message', [
    (b'', 'is empty'), (b'\n\n', 'names no images'), (b'a\n\nb\n', 'line 2 is empty'),
    (b'\xef\xbb\xbfa\n', 'byte order mark'), ('a\n'.encode('utf-16'), 'UTF-16'), (b'\xe4\n', 'is not text in UTF-8'),
    (b'a\nb\na\n', r'listed more than once:.*a \(2 times\)'), (b'a\nb\n', None),
])
def test_one_fault_in_a_segmentation_list(content, message, tmp_path):
    (tmp_path / 'names.txt').write_bytes(content)
    found = problems(segmentation_config(tmp_path, 'train'), 'train')
    assert len(found) == (message is not None), found
    assert message is None or re.search(f'^{tmp_path}/names.txt.*{message}', found[0].message, re.DOTALL), found


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
