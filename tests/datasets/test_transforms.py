"""Transforms: bad samples that are skipped, masks of salient objects, the augmentation of persons."""
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import (
    BOX,
    GREY,
    MASK_DEFECTS,
    detection_config,
    expect_bad_data,
    segmentation_config,
    write_image,
    write_image_bomb,
)
from mmengine.config import ConfigDict
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from res2net_mm.datasets.checks import check_data, skip_bad_samples
from res2net_mm.datasets.transforms import ClippedBBoxTransform, SkipBadSample


def training_set(cfg, strict=False):
    skip_bad_samples(cfg, strict)
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg.train_dataloader.dataset)


@pytest.mark.parametrize('name, spoil, message', MASK_DEFECTS)
def test_sample_is_skipped(name, spoil, message, masks, monkeypatch):
    messages = []
    monkeypatch.setattr('res2net_mm.datasets.transforms.skip_bad_sample.warn', messages.append)
    spoil(masks / name)
    dataset = training_set(segmentation_config(masks, 'train'))
    for _ in range(20):
        assert Path(dataset[1]['img_path']).name in ('a.jpg', 'c.jpg')
    assert len(messages) == 1 and f'b.{name[-3:]}' in messages[0] and re.search(message, messages[0]), messages

    dataset = training_set(segmentation_config(masks, 'train'), strict=True)
    assert dataset[0]['gt_seg_map'].shape == (48, 64)
    expect_bad_data(f'bad training sample: .*b.{name[-3:]}.*{message}', dataset.__getitem__, 1)


def test_image_of_another_size_than_its_mask_of_an_object(broken_shapes):
    """mmdet: the size in the file is right, the image is another one."""
    cfg = detection_config(broken_shapes)
    path = broken_shapes / 'annotations' / 'instances_train2017.json'
    data = json.loads(path.read_text())
    for annotation in data['annotations']:
        annotation['segmentation'] = dict(size=[192, 192], counts=[0, 100, 192 * 192 - 100])
    path.write_text(json.dumps(data))
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    check_data(cfg, ['train'])
    for name in ('000001', '000002'):
        cv2.imwrite(str(broken_shapes / 'train2017' / f'{name}.png'), np.zeros((100, 192, 3), np.uint8))
    dataset = training_set(cfg)
    assert dataset[0]['gt_masks'].masks.shape[1:] == (192, 192)


def test_pose_sample_is_skipped(tmp_path, image):
    pytest.importorskip('mmpose')
    people = [dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 20, 20], area=400, keypoints=[5, 5, 2] * 17)
              for i in (1, 2)]
    images = [dict(id=1, file_name='missing.jpg', height=48, width=64),
              dict(id=2, file_name='image.jpg', height=48, width=64)]
    (tmp_path / 'persons.json').write_text(
        json.dumps(dict(images=images, annotations=people, categories=[dict(id=1, name='person')])))
    data = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='persons.json', data_prefix=dict(img=''),
                pipeline=[dict(type='LoadImage')])
    dataset = training_set(ConfigDict(default_scope='mmpose', train_dataloader=dict(dataset=data)))
    assert dataset[0]['img_path'] == str(image)


def test_classification_sample_is_skipped_in_a_wrapper(tmp_path, image):
    pytest.importorskip('mmpretrain')
    (tmp_path / 'train.txt').write_text('missing.jpg 0\nimage.jpg 1\n')
    data = dict(type='CustomDataset', data_root=str(tmp_path), ann_file='train.txt', data_prefix='',
                pipeline=[dict(type='LoadImageFromFile')])
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[data]))
    dataset = training_set(ConfigDict(default_scope='mmpretrain', train_dataloader=dict(dataset=wrapped)))
    assert len(dataset) == 4
    assert all(dataset[index]['gt_label'] == 1 for index in range(4))


def test_image_is_looked_at_before_it_is_decoded(image, monkeypatch):
    """Too many pixels, a side of many times the other: nothing of it is decoded, and no later transform meets it."""
    messages = []
    monkeypatch.setattr('res2net_mm.datasets.transforms.skip_bad_sample.warn', messages.append)
    init_default_scope('mmdet')
    transform = SkipBadSample(dict(type='LoadImageFromFile'))
    assert transform(dict(img_path=str(image)))['img'].shape == (48, 64, 3)
    write_image_bomb(image.with_name('bomb.png'), 30000)
    cv2.imwrite(str(image.with_name('line.jpg')), np.zeros((1, 4000, 3), np.uint8))
    monkeypatch.setattr('mmcv.imfrombytes', lambda *arguments, **settings: pytest.fail('decoded'))
    for name, message in (('bomb.png', 'has more than 536,870,912 pixels'), ('line.jpg', 'line.jpg is 1 x 4000')):
        assert transform(dict(img_path=str(image.with_name(name)))) is None
        assert message in messages[-1]


def test_only_what_opencv_loads_is_looked_at(image, monkeypatch):
    """Arrays, keys of a database and files of another kind go to the transform that knows them."""
    pytest.importorskip('mmseg')
    messages = []
    monkeypatch.setattr('res2net_mm.datasets.transforms.skip_bad_sample.warn', messages.append)
    init_default_scope('mmseg')
    np.save(image.with_suffix('.npy'), np.zeros((48, 64, 3), np.uint8))
    loaded = SkipBadSample(dict(type='LoadImageFromNpyFile'))(dict(img_path=str(image.with_suffix('.npy'))))
    assert loaded['img'].shape == (48, 64, 3) and not messages
    array = dict(img=np.zeros((48, 64, 3), np.uint8), img_path='nothing.jpg')
    assert SkipBadSample(dict(type='LoadImageFromNDArray'))(array)['img'].shape == (48, 64, 3) and not messages

    monkeypatch.setattr('mmengine.fileio.get', lambda path, backend_args: image.read_bytes())
    transform = SkipBadSample(dict(type='LoadImageFromFile', backend_args=dict(backend='lmdb', db_path='database')))
    assert transform(dict(img_path='key/1.jpg'))['img'].shape == (48, 64, 3) and not messages


def test_data_that_is_bad_as_a_whole(image):
    def draw(transform, names):
        for name in names:
            transform(dict(img_path=str(image.with_name(name))))

    init_default_scope('mmdet')
    transform = SkipBadSample(dict(type='LoadImageFromFile'))
    expect_bad_data('1 files in 100 samples drawn, 100 samples in a row; .*x.jpg', draw, transform, ['x.jpg'] * 1000)
    transform = SkipBadSample(dict(type='LoadImageFromFile'))
    draw(transform, ['image.jpg', 'x.jpg'] * 200)  # one bad file is never too many
    draw(transform, [f'x{i}.jpg' for i in range(15)])
    expect_bad_data('22 files in 421 samples', draw, transform, [f'y{i}.jpg' for i in range(15)])


@pytest.mark.parametrize('image, expected', [(255 * BOX, BOX), (BOX, BOX), (np.dstack([255 * BOX] * 3), BOX),
                                             (GREY, GREY >= 128)], ids=['0 and 255', '0 and 1', '3 channels', 'grey'])
def test_saliency_annotations(image, expected, tmp_path):
    write_image(tmp_path / 'mask.png', image)
    load = TRANSFORMS.build(dict(type='res2net_mm.LoadSaliencyAnnotations'))
    loaded = load(dict(seg_map_path=str(tmp_path / 'mask.png'), seg_fields=[]))
    assert np.array_equal(loaded['gt_seg_map'], expected) and loaded['seg_fields'] == ['gt_seg_map']


def test_law_of_scale_and_rotation():
    """Clipped normals: the mass on the bounds, the spread between them, and the boxes that are not rotated."""
    np.random.seed(0)
    n = 200_000
    results = ClippedBBoxTransform()(dict(bbox_scale=np.full((n, 2), 100, np.float32)))
    scale, rotation = results['bbox_scale'] / 100, results['bbox_rotation']
    assert (scale[:, 0] == scale[:, 1]).all() and scale.dtype == rotation.dtype == np.float32
    scale = scale[:, 0]
    assert np.isclose(scale.min(), 0.7) and np.isclose(scale.max(), 1.3)
    for bound in (0.7, 1.3):  # P(|z| > 1) = 0.3173
        assert np.isclose(scale, bound, atol=1e-5).mean() == pytest.approx(0.3173 / 2, abs=0.003)
    assert scale.mean() == pytest.approx(1, abs=0.002)
    assert scale.std() == pytest.approx(0.3 * 0.7184, abs=0.002)  # E[min(z^2, 1)] = 0.5161; mmpose's: 0.162

    assert (rotation == 0).mean() == pytest.approx(0.4, abs=0.004)
    turned = rotation[rotation != 0]
    assert turned.min() == -80 and turned.max() == 80
    assert (abs(turned) == 80).mean() == pytest.approx(0.0455, abs=0.003)  # P(|z| > 2)
    assert turned.std() == pytest.approx(40 * 0.9594, abs=0.3)  # E[min(z^2, 4)] = 0.9205
    assert abs(np.corrcoef(scale, rotation)[0, 1]) < 0.01


def test_law_reaches_the_image():
    """What TopdownAffine makes of it: the centre stays, lengths shrink by the scale, directions turn by the angle."""
    transforms = pytest.importorskip('mmpose.datasets.transforms')
    start = dict(
        img=np.zeros((200, 200, 3), np.uint8), img_shape=(200, 200), bbox=np.array([[60, 40, 120, 120]], np.float32),
        keypoints=np.array([[[90, 80], [120, 80]]], np.float32), keypoints_visible=np.ones((1, 2), np.float32))
    np.random.seed(1)
    scales = set()
    for _ in range(20):
        results = transforms.GetBBoxCenterScale()({key: value.copy() if hasattr(value, 'copy') else value
                                        for key, value in start.items()})
        before = results['bbox_scale'].copy()
        results = ClippedBBoxTransform(rotate_prob=1)(results)
        scale = (results['bbox_scale'] / before)[0, 0]
        results = transforms.TopdownAffine(input_size=(96, 128))(results)
        assert results['img'].shape == (128, 96, 3)
        centre, right = results['transformed_keypoints'][0]
        assert np.allclose(centre, (48, 64), atol=1e-3)
        length, angle = np.hypot(*(right - centre)), np.degrees(np.arctan2(*(right - centre)[::-1]))
        assert length == pytest.approx(30 * 128 / (80 * 1.25 * scale), rel=1e-3)
        assert abs(angle) == pytest.approx(abs(results['bbox_rotation'][0]), abs=0.1)
        scales.add(round(float(scale), 3))
    assert len(scales) > 5


@pytest.mark.parametrize('argument, value', [('scale_std', 1), ('scale_std', -0.1), ('rotate_std', -1),
                                             ('rotate_prob', 1.5)])
def test_bad_argument_is_named(argument, value):
    with pytest.raises(ValueError, match=f'{argument}={value}'):
        ClippedBBoxTransform(**{argument: value})
