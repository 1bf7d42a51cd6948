"""Bad data: every defect is found before the run, or skipped with one warning that names the file."""
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers import DEMO, FAST, arguments, expect_failure
from mmengine.config import ConfigDict, DictAction
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from res2net_mm.cli.train import main as run_train
from res2net_mm.datasets.checks import BadDataError, check_data, check_photos, skip_bad_samples
from res2net_mm.datasets.shapes import CLASSES, write_shapes
from res2net_mm.datasets.transforms import SkipBadSample
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_edits import move_data_root
from res2net_mm.utils.images import file_defect

pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes')
    write_shapes(root, train=6, val=3, image_size=192)
    return root


@pytest.fixture
def broken(shapes, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(shapes, tmp_path / 'shapes'))


def cut(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])


def refused(message, check, *args):
    with pytest.raises(BadDataError) as error:
        check(*args)
    assert re.search(message, str(error.value), re.DOTALL), error.value


# Annotation files.


def detection(root, split='train', **options):
    data = dict(type='CocoDataset', data_root=str(root), ann_file=f'annotations/instances_{split}2017.json',
                data_prefix=dict(img=f'{split}2017/'), metainfo=dict(classes=CLASSES), test_mode=split == 'val',
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)], **options)
    return ConfigDict({'default_scope': 'mmdet', f'{split}_dataloader': dict(dataset=data)})


def rle(data):
    image = data['images'][0]
    mask = dict(size=[image['height'], image['width'] - 1], counts='x')
    data['annotations'][0].update(image_id=image['id'], segmentation=mask)


@pytest.mark.parametrize('edit, message', [
    (lambda data: data.pop('annotations'), "must hold the lists images, categories, annotations.*'categories'"),
    (lambda data: data.update(annotations=[]), 'has no annotations'),
    (lambda data: data.update(images=[]), 'has no images'),
    (lambda data: data['images'][0].pop('height'), "lack one of .*'height'.*image 1"),
    (lambda data: data['annotations'][1].update(category_id=99), '1 of .* annotation 2: category_id 99 .* 1 to 4'),
    (lambda data: data['annotations'][1].update(image_id=99), 'annotation 2: image_id 99 is none of the 6 images'),
    (lambda data: data['annotations'][1].update(bbox=[1, 2, 3]), 'annotation 2: bbox .* must be four finite numbers'),
    (lambda data: data['annotations'][1].update(bbox=[1, 2, 3, float('nan')]), 'annotation 2: bbox .*nan'),
    (lambda data: data['annotations'][1].pop('area'), 'annotation 2: has no area'),
    (lambda data: data['annotations'][1].update(segmentation=[1, 2, 3, 4, 5, 6]), 'annotation 2: .* list of polygons'),
    (rle, r'annotation 1: mask of size \[192, 191\]; its image 000001.png is \[192, 192\]'),
    (lambda data: data['categories'].pop(1), "1 of the 4 classes .* not in its categories .*metainfo.*square"),
    (lambda data: data.update(annotations=[None]), "not in COCO's format"),
], ids=['no list', 'no annotations', 'no images', 'image', 'category', 'image_id', 'bbox', 'nan', 'area', 'polygons',
        'mask size', 'classes', 'null'])
def test_coco_file(edit, message, broken):
    path = broken / 'annotations' / 'instances_train2017.json'
    data = json.loads(path.read_text())
    check_data(detection(broken), ['train'])
    edit(data)
    path.write_text(json.dumps(data))
    refused(f'{path}.*{message}', check_data, detection(broken), ['train'])


def test_coco_file_that_is_cut_off_or_missing(broken):
    path = broken / 'annotations' / 'instances_train2017.json'
    cut(path)
    refused(f'{path} is not valid JSON', check_data, detection(broken), ['train'])
    path.write_text('')
    refused(f'{path} is empty', check_data, detection(broken), ['train'])
    path.unlink()
    refused(f'train_dataloader: {path}', check_data, detection(broken), ['train'])
    check_data(detection(broken, 'val'), ['val'])


def test_polygons_that_mmdet_leaves_out(broken, monkeypatch):
    said = []
    monkeypatch.setattr('res2net_mm.datasets.checks.warn', said.append)
    path = broken / 'annotations' / 'instances_train2017.json'
    data = json.loads(path.read_text())
    data['annotations'][1]['segmentation'] = [[1, 2, 3, 4]]
    path.write_text(json.dumps(data))
    check_data(detection(broken), ['train'])
    assert len(said) == 1 and re.search(f'{path}: 1 annotations .* The first: \\[2]', said[0]), said


def test_no_annotation_of_the_classes(broken):
    path = broken / 'annotations' / 'instances_train2017.json'
    data = json.loads(path.read_text())
    data['annotations'] = [a for a in data['annotations'] if a['category_id'] == 1]
    path.write_text(json.dumps(data))
    cfg = detection(broken)
    cfg.train_dataloader.dataset.metainfo.classes = CLASSES[1:]
    refused(r"has no annotation of the classes \('square'", check_data, cfg, ['train'])


def test_sets_without_annotations(broken):
    """A test set whose predictions are only written, and an unlabelled training set, need none."""
    for split, key in (('train', 'annotations'), ('val', 'annotations')):
        path = broken / 'annotations' / f'instances_{split}2017.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), key: []}))
    check_data(detection(broken, filter_cfg=dict(filter_empty_gt=False)), ['train'])
    cfg = detection(broken, 'val')
    refused('has no annotations', check_data, cfg, ['val'])
    cfg.val_evaluator = dict(type='CocoMetric', format_only=True)
    check_data(cfg, ['val'])


def test_wrapped_datasets(broken):
    cfg = detection(broken)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2,
                                        dataset=dict(type='ConcatDataset', datasets=[inner, inner]))
    check_data(cfg, ['train'])
    path = broken / 'annotations' / 'instances_train2017.json'
    cut(path)
    refused('not valid JSON', check_data, cfg, ['train'])


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
        refused(f'val_dataloader: {boxes}', check_data, cfg, ['val'])
        boxes.write_text(json.dumps([dict(image_id=2, bbox=[1, 1, 5, 5], score=1)]))
        refused(f'{boxes}: detections that are not of the images', check_data, cfg, ['val'])
    else:
        refused(f'{path}.*annotation 7: 48 numbers of keypoints; the dataset has 17', check_data, cfg, ['train'])


def test_voc_xml(tmp_path):
    xml = tmp_path / 'VOC2007' / 'Annotations' / '1.xml'
    names = tmp_path / 'names.txt'
    names.write_text('1\n')
    data = dict(type='VOCDataset', data_root=str(tmp_path), ann_file='names.txt',
                data_prefix=dict(sub_data_root='VOC2007/'))
    cfg = ConfigDict(default_scope='mmdet', train_dataloader=dict(dataset=data))
    xml.parent.mkdir(parents=True)
    refused(f'{xml} does not exist', check_data, cfg, ['train'])
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>'
    for text, message in (
        (f'<annotation><object><name>cat</name>{box}', f'{xml} cannot be read'),
        (f'<annotation><object><name>unicorn</name>{box}</object></annotation>', 'no photo has an object of the class'),
        (f'<annotation><object><name>cat</name>{box.replace("9", "x")}</object></annotation>', f'{xml}: every object'),
    ):
        xml.write_text(text)
        refused(message, check_data, cfg, ['train'])
    xml.write_text(f'<annotation><object><name>cat</name>{box}</object></annotation>')
    check_data(cfg, ['train'])
    names.write_text('')
    refused(f'{names} is empty', check_data, cfg, ['train'])


def test_labels_of_photos(tmp_path):
    pytest.importorskip('mmpretrain')
    names = tmp_path / 'train.txt'
    data = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='train.txt', data_prefix='',
                metainfo=dict(classes=('cat', 'dog')))
    cfg = ConfigDict(default_scope='mmpretrain', train_dataloader=dict(dataset=data))
    names.write_text('1.png 0\n2.png 1\n')
    check_data(cfg, ['train'])
    names.write_text('1.png 0\n2.png 2\n')
    refused(f'{names}.*label from 0 to 1.*line 2: 2.png 2', check_data, cfg, ['train'])


# Photos and masks.


@pytest.fixture
def photo(tmp_path):
    """A photo of 48 x 64 pixels as JPEG."""
    path = tmp_path / 'photo.jpg'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    return path


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_photo_files(suffix, photo):
    path = photo.with_suffix(suffix)
    cv2.imwrite(str(path), cv2.imread(str(photo)))
    assert file_defect(str(path)) is None
    path.write_bytes(path.read_bytes() + b'junk of a camera' * 9)
    assert file_defect(str(path)) is None
    path.write_bytes(b'')
    assert file_defect(str(path)) == 'is empty'
    path.unlink()
    assert file_defect(str(path)) == 'does not exist'
    assert file_defect(f's3://bucket/{path.name}') is None


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_photo_that_is_cut_off(suffix, photo):
    path = photo.with_suffix(suffix)
    cv2.imwrite(str(path), cv2.imread(str(photo)))
    cut(path)
    assert file_defect(str(path)).startswith('is cut off')
    path.write_text('<html>404</html>')
    assert file_defect(str(path)).startswith('is cut off or broken: cannot identify')


@pytest.fixture
def masks(tmp_path):
    """Three photos of 48 x 64 pixels with masks of two classes, in the layout of VOC's segmentation."""
    for folder in ('JPEGImages', 'SegmentationClass'):
        (tmp_path / folder).mkdir()
    for name in 'abc':
        cv2.imwrite(str(tmp_path / 'JPEGImages' / f'{name}.jpg'), np.full((48, 64, 3), 99, np.uint8))
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20, 10:30], mask[0] = 1, 255
        cv2.imwrite(str(tmp_path / 'SegmentationClass' / f'{name}.png'), mask)
    (tmp_path / 'names.txt').write_text('a\nb\nc\n')
    return tmp_path


def segmentation(root, split):
    pytest.importorskip('mmseg')
    data = dict(type='BaseSegDataset', data_root=str(root), ann_file=str(root / 'names.txt'),
                data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
                metainfo=dict(classes=('nothing', 'thing')), test_mode=split == 'val',
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    return ConfigDict({'default_scope': 'mmseg', f'{split}_dataloader': dict(dataset=data)})


def loop(cfg):
    """A validation loop as far as check_photos looks at it."""
    init_default_scope(cfg.default_scope)
    return SimpleNamespace(dataloader=SimpleNamespace(dataset=DATASETS.build(cfg.val_dataloader.dataset)))


def small(path):
    cv2.imwrite(str(path), cv2.imread(str(path), -1)[:40])


def label_2(path):
    cv2.imwrite(str(path), np.full((48, 64), 2, np.uint8))


def coloured(path):
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))


DEFECTS = [
    ('JPEGImages/b.jpg', Path.unlink, 'does not exist'),
    ('JPEGImages/b.jpg', cut, 'is cut off'),
    ('SegmentationClass/b.png', Path.unlink, 'does not exist'),
    ('SegmentationClass/b.png', cut, 'is cut off'),
    ('SegmentationClass/b.png', small, 'mask of 40 x 64 pixels for a photo of 48 x 64'),
    ('SegmentationClass/b.png', label_2, 'mask with label 2; allowed are 0 to 1 and 255'),
    ('SegmentationClass/b.png', coloured, 'must have one channel'),
]


@pytest.mark.parametrize('name, spoil, message', DEFECTS)
def test_photos_and_masks_to_evaluate_on(name, spoil, message, masks):
    cfg = segmentation(masks, 'val')
    check_data(cfg, ['val'])
    check_photos(loop(cfg))
    spoil(masks / name)
    refused(f'1 photos or masks.*{masks / name} .*{message}', check_photos, loop(cfg))


def test_lists_of_photos(masks):
    cfg = segmentation(masks, 'train')
    (masks / 'names.txt').write_text('\n')
    refused('names.txt names no photos', check_data, cfg, ['train'])
    cfg.train_dataloader.dataset.ann_file = ''
    check_data(cfg, ['train'])
    shutil.rmtree(masks / 'JPEGImages')
    (masks / 'JPEGImages').mkdir()
    refused('JPEGImages has no photos', check_data, cfg, ['train'])


def training_set(cfg, strict=False):
    skip_bad_samples(cfg, strict)
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg.train_dataloader.dataset)


@pytest.mark.parametrize('name, spoil, message', DEFECTS)
def test_sample_is_skipped(name, spoil, message, masks, monkeypatch):
    said = []
    monkeypatch.setattr('res2net_mm.datasets.checks.warn', said.append)
    spoil(masks / name)
    dataset = training_set(segmentation(masks, 'train'))
    for _ in range(20):
        assert Path(dataset[1]['img_path']).name in ('a.jpg', 'c.jpg')
    assert len(said) == 1 and f'b.{name[-3:]}' in said[0] and re.search(message, said[0]), said

    dataset = training_set(segmentation(masks, 'train'), strict=True)
    assert dataset[0]['gt_seg_map'].shape == (48, 64)
    refused(f'bad training sample: .*b.{name[-3:]}.*{message}', dataset.__getitem__, 1)


def test_photo_of_another_size_than_its_mask_of_an_object(broken):
    """mmdet: the size in the file is right, the photo is another one."""
    cfg = detection(broken)
    path = broken / 'annotations' / 'instances_train2017.json'
    data = json.loads(path.read_text())
    for annotation in data['annotations']:
        annotation['segmentation'] = dict(size=[192, 192], counts=[0, 100, 192 * 192 - 100])
    path.write_text(json.dumps(data))
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    check_data(cfg, ['train'])
    for name in ('000001', '000002'):
        cv2.imwrite(str(broken / 'train2017' / f'{name}.png'), np.zeros((100, 192, 3), np.uint8))
    dataset = training_set(cfg)
    assert dataset[0]['gt_masks'].masks.shape[1:] == (192, 192)


def test_pose_sample_is_skipped(tmp_path, photo):
    pytest.importorskip('mmpose')
    people = [dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 20, 20], area=400, keypoints=[5, 5, 2] * 17)
              for i in (1, 2)]
    images = [dict(id=1, file_name='missing.jpg', height=48, width=64),
              dict(id=2, file_name='photo.jpg', height=48, width=64)]
    (tmp_path / 'persons.json').write_text(
        json.dumps(dict(images=images, annotations=people, categories=[dict(id=1, name='person')])))
    data = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='persons.json', data_prefix=dict(img=''),
                pipeline=[dict(type='LoadImage')])
    dataset = training_set(ConfigDict(default_scope='mmpose', train_dataloader=dict(dataset=data)))
    assert dataset[0]['img_path'] == str(photo)


def test_classification_sample_is_skipped_in_a_wrapper(tmp_path, photo):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'train.txt').write_text('missing.jpg 0\nphoto.jpg 1\n')
    data = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='train.txt', data_prefix='',
                pipeline=[dict(type='LoadImageFromFile')])
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[data]))
    dataset = training_set(ConfigDict(default_scope='mmpretrain', train_dataloader=dict(dataset=wrapped)))
    assert len(dataset) == 4
    assert all(dataset[index]['gt_label'] == 1 for index in range(4))


def test_data_that_is_bad_as_a_whole(photo):
    def draw(transform, names):
        for name in names:
            transform(dict(img_path=str(photo.with_name(name))))

    init_default_scope('mmdet')
    transform = SkipBadSample(dict(type='LoadImageFromFile'))
    refused('1 files in 100 samples drawn, 100 samples in a row; .*x.jpg', draw, transform, ['x.jpg'] * 1000)
    transform = SkipBadSample(dict(type='LoadImageFromFile'))
    draw(transform, ['photo.jpg', 'x.jpg'] * 200)  # one bad file is never too many
    draw(transform, [f'x{i}.jpg' for i in range(15)])
    refused('22 files in 421 samples', draw, transform, [f'y{i}.jpg' for i in range(15)])


def test_config_of_an_earlier_run_is_not_wrapped_twice(shapes):
    cfg = detection(shapes)
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[dict(type='LoadAnnotations')])]
    skip_bad_samples(cfg)
    skip_bad_samples(cfg, strict=True)
    first, second = cfg.train_dataloader.dataset.pipeline
    assert first == dict(type='res2net_mm.SkipBadSample', transform=dict(type='LoadImageFromFile'), strict=True)
    assert second.transform == dict(type='LoadAnnotations', with_bbox=True)
    assert cfg.custom_hooks[0].switch_pipeline[0].transform == dict(type='LoadAnnotations')


# Whole runs.


def log(work_dir):
    return next(work_dir.glob('*/*.log')).read_text().splitlines()


def test_training_goes_on(broken, tmp_path):
    """Two processes load data, and start anew for each of two epochs."""
    (broken / 'train2017' / '000001.png').unlink()
    cut(broken / 'train2017' / '000002.png')
    run_train([DEMO, *arguments(broken, tmp_path / 'run', 'train_cfg.max_iters=6', 'train_cfg.val_interval=6',
                                  'train_dataloader.num_workers=2', 'train_dataloader.sampler.type=DefaultSampler')])
    assert (tmp_path / 'run' / 'iter_6.pth').is_file()
    said = [line for line in log(tmp_path / 'run') if 'skipped' in line]
    assert sorted(re.sub('.*train2017/', '', line)[:25] for line in said) == [
        '000001.png does not exist', '000002.png is cut off or '], said


def test_training_stops(broken, tmp_path, capsys):
    options = arguments(broken, tmp_path)
    for path in (broken / 'train2017').iterdir():
        path.unlink()
    expect_failure(capsys, run_train, [DEMO, '--strict-data', *options, 'train_dataloader.num_workers=2'],
                   r'error: bad training sample: \S*/train2017/\S*png does not exist$')
    expect_failure(capsys, run_train, [DEMO, *options], r'error: too many bad training samples: [1-6] files')
    assert not list(tmp_path.glob('*.pth'))


def test_bad_photo_to_evaluate_on_stops_the_run_before_it_starts(broken, tmp_path, capsys):
    cut(broken / 'val2017' / '000002.png')
    expect_failure(capsys, run_train, [DEMO, *arguments(broken, tmp_path / 'run')], '(?s)1 photos.*000002.png is cut')
    assert not any('Iter(train)' in line for line in log(tmp_path / 'run'))


def test_good_data_is_trained_on_as_by_the_runner_itself(shapes, tmp_path):
    """Bit by bit: SkipBadSample changes no sample and draws no random numbers."""
    run_train([DEMO, *arguments(shapes, tmp_path / 'ours')])
    cfg = load_config(DEMO)
    move_data_root(cfg, str(shapes))
    cfg.merge_from_dict({key: DictAction._parse_iterable(value)
                         for key, value in (option.split('=') for option in FAST)})
    cfg.work_dir = str(tmp_path / 'theirs')
    Runner.from_cfg(cfg).train()
    ours, theirs = (torch.load(tmp_path / name / 'iter_2.pth', weights_only=False)['state_dict']
                    for name in ('ours', 'theirs'))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
