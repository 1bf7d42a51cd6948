import json

import numpy as np
import pytest
from helpers import detection_config, segmentation_config, write_image, write_pictures
from mmengine.registry import DATASETS, init_default_scope

from res2net_mm.analysis import dataset_summary
from res2net_mm.analysis.dataset_samples import build_dataset
from res2net_mm.analysis.dataset_summary import summarise_dataset
from res2net_mm.datasets.checks.configs import dataset_configs


def summarise(cfg, split='train', **options):
    init_default_scope(cfg.default_scope)
    config, = dataset_configs(cfg, split)
    dataset, _ = build_dataset(dict(config, **options))
    return summarise_dataset(dataset)


def write_coco(root, annotations):
    """One image of 300 x 200 with objects of the shapes' first class, and one without."""
    (root / 'annotations').mkdir()
    images = [dict(id=i, file_name=f'{i}.jpg', width=300, height=(200, 400)[i]) for i in range(2)]
    annotations = [dict(dict(id=i, image_id=0, category_id=1, iscrowd=0), **entry)
                   for i, entry in enumerate(annotations)]
    content = dict(images=images, annotations=annotations, categories=[
        dict(id=i + 1, name=name) for i, name in enumerate(('circle', 'square', 'triangle'))])
    (root / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
    for i in range(2):
        write_image(root / 'train2017' / f'{i}.jpg', np.zeros((images[i]['height'], 300, 3), np.uint8))


def test_objects_are_counted_by_area_of_mask_or_box(tmp_path):
    pytest.importorskip('mmdet')
    square = [0, 0, 100, 0, 100, 100, 0, 100]
    write_coco(tmp_path, [
        dict(bbox=[0, 0, 31, 32], area=9), dict(bbox=[0, 0, 32, 32], area=9), dict(bbox=[0, 0, 96, 96], area=9),
        dict(bbox=[0, 0, 100, 100], area=9, segmentation=[square]),
        dict(bbox=[0, 0, 100, 100], area=9, segmentation=[square[:4] + [0, 20]]),  # its mask is smaller than its box
        dict(bbox=[0, 0, 50, 50], area=9, iscrowd=1)])
    summary = summarise(detection_config(tmp_path), metainfo=dict(classes=('circle', 'square', 'triangle')))
    circle = summary.classes[0]
    assert (circle.objects, circle.ignored, circle.by_area, circle.images) == (5, 1, [2, 1, 2], 1)
    assert [count.is_missing for count in summary.classes.values()] == [False, True, True]
    assert (len(summary.images), summary.annotated, summary.masks, summary.counted) == (2, 1, 2, 'objects')
    assert (summary.sizes.smallest, summary.sizes.largest, summary.sizes.aspects) == (
        (300, 200), (300, 400), (0.75, 1.5))


def test_pixels_are_counted_after_loading(masks):
    write_image(masks / 'SegmentationClass' / 'a.png', np.full((48, 64), 7, np.uint8))
    write_image(masks / 'SegmentationClass' / 'b.png', np.zeros((48, 64), np.uint8))
    summary = summarise(segmentation_config(masks, 'train'))
    pixels = {count.name: (count.images, count.pixels) for count in summary.classes.values()}
    assert pixels == {'nothing': (2, 48 * 64 + 48 * 64 - 200 - 64), 'thing': (1, 200), '(ignored, 255)': (1, 64),
                      'label 7': (1, 48 * 64)}
    assert summary.decoded == 3 and summary.images[2].classes == {0, 1}
    summary = summarise(segmentation_config(masks, 'train'), reduce_zero_label=True)
    assert summary.classes[0].pixels == 200 and 254 not in summary.classes


def test_a_bound_on_what_is_decoded_and_a_mask_that_cannot_be(masks, monkeypatch):
    monkeypatch.setattr(dataset_summary, 'MOST_MASKS', 2)
    monkeypatch.setattr(dataset_summary, 'MOST_HEADERS', 1)
    (masks / 'SegmentationClass' / 'b.png').write_text('no image')
    summary = summarise(segmentation_config(masks, 'train'))
    assert summary.decoded == 1 and summary.sizes.measured == 1 and len(summary.unreadable) == 1
    assert summary.unreadable[0].startswith(f'{masks}/JPEGImages/b.jpg: ')
    assert [sample.classes for sample in summary.images] == [{0, 1}, None, None]


def test_labels_are_counted(tmp_path):
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    (tmp_path / 'list.txt').write_text('a/0.png 0\na/2.png 0\nb/1.png 5\n')
    init_default_scope('mmpretrain')
    config = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='pictures', pipeline=[])
    by_folder = summarise_dataset(DATASETS.build(dict(config)))
    assert [(count.name, count.objects) for count in by_folder.classes.values()] == [('a', 8), ('b', 8)]
    assert by_folder.counted == 'labels' and by_folder.sizes.median == (32, 32)
    listed = summarise_dataset(DATASETS.build(dict(config, ann_file='list.txt', metainfo=dict(classes=('a', 'b')))))
    assert {label: (count.name, count.images) for label, count in listed.classes.items()} == {
        0: ('a', 2), 1: ('b', 0), 5: ('label 5', 1)}


def test_images_that_are_in_the_annotations_have_sizes_and_no_file():
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')

    @DATASETS.register_module(name='Arrays', force=True)
    class Arrays(DATASETS.get('mmpretrain.BaseDataset')):
        def load_data_list(self):
            return [dict(img=np.zeros((4, 8, 3), np.uint8), gt_label=[0, 1])]

    summary = summarise_dataset(Arrays(ann_file='', metainfo=dict(classes='ab'), pipeline=[]))
    assert summary.sizes.largest == (8, 4) and [count.objects for count in summary.classes.values()] == [1, 1]
    assert not summary.images[0].is_file


def test_keypoints_are_counted(tmp_path):
    pytest.importorskip('mmpose')
    keypoints = np.zeros((17, 3), int)
    keypoints[0] = 40, 50, 2
    keypoints[5] = 60, 70, 1
    write_coco(tmp_path, [dict(bbox=[0, 0, 90, 90], area=5000, keypoints=keypoints.ravel().tolist(), num_keypoints=2),
                          dict(bbox=[9, 9, 90, 90], area=9300, keypoints=keypoints.ravel().tolist(), num_keypoints=2)])
    cfg = detection_config(tmp_path)
    cfg.default_scope = 'mmpose'
    for mode in ('topdown', 'bottomup'):
        summary = summarise(cfg, type='CocoDataset', data_mode=mode, metainfo=None, pipeline=[], test_mode=True)
        assert {count.name for count in summary.keypoints.values() if count.objects == 2} == {'nose', 'left_shoulder'}
        assert sum(count.is_missing for count in summary.keypoints.values()) == 15
        assert summary.classes[0].objects == 2 and summary.classes[0].by_area == [0, 1, 1]
        assert len(summary.images[0].indices) == (2 if mode == 'topdown' else 1) and summary.annotated == 1
