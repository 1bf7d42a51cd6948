"""Keypoints in COCO's format and files of detected boxes, broken in one place each."""
import json
import re

import pytest
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks.configs import check_annotations, dataset_settings

pytest.importorskip('mmpose')
NAN = float('nan')
POINTS = [5, 5, 2] * 17


def write(path, persons=({}, ), category_id=1, image_id=1, missing=()):
    annotations = [dict(dict(id=number + 7, image_id=image_id, category_id=category_id, bbox=[1, 1, 20, 20], area=400,
                             iscrowd=0, num_keypoints=17, keypoints=list(POINTS)), **changes)
                   for number, changes in enumerate(persons)]
    for key in missing:
        del annotations[0][key]
    path.write_text(json.dumps(dict(
        images=[dict(id=image_id, file_name='1.png', height=32, width=32)], annotations=annotations,
        categories=[dict(id=category_id, name='person')])))


def problems(path, split='train', boxes=None, filters=None, **metric):
    data = dict(type='CocoDataset', ann_file=str(path), data_prefix=dict(img=''), test_mode=split == 'val')
    if boxes is not None:
        (path.parent / 'boxes.json').write_text(json.dumps(boxes))
        data.update(bbox_file=str(path.parent / 'boxes.json'), filter_cfg=filters)
    cfg = ConfigDict({'default_scope': 'mmpose', f'{split}_dataloader': dict(dataset=data)})
    if split == 'val':
        cfg.val_evaluator = dict(type='CocoMetric', **metric)
    return [problem for settings in dataset_settings(cfg, split) for problem in check_annotations(settings)]


@pytest.mark.parametrize('values, fatal, message', [
    ({}, None, None),
    (dict(keypoints=POINTS[:-3]), True, 'annotation 8: 48 numbers of keypoints; the dataset has 17 keypoints'),
    (dict(keypoints=None), True, 'annotation 8: keypoints None must be a list'),
    (dict(keypoints='x'), True, "annotation 8: keypoints 'x' must be a list"),
    (dict(keypoints=5), True, 'annotation 8: keypoints 5 must be a list'),
    (dict(keypoints=['5'] * 51), True, r"annotation 8: keypoints \['5'"),
    (dict(keypoints=[NAN, *POINTS[1:]]), True, r'annotation 8: keypoints \[nan'),
    (dict(keypoints=[None, *POINTS[1:]]), True, r'annotation 8: keypoints \[None'),
    (dict(keypoints=[[5, 5, 2]] * 17), True, r'annotation 8: keypoints \[\[5'),
    (dict(keypoints=[5, 5, -1, *POINTS[3:]]), True, 'annotation 8: a visibility is below 0'),
    (dict(keypoints=[5, 5, 3, *POINTS[3:]]), False, r'annotation 8: \[3\]'),
    (dict(keypoints=[5, 5, .5, *POINTS[3:]]), False, r'annotation 8: \[0.5\]'),
], ids=str)
def test_one_fault_in_keypoints(values, fatal, message, tmp_path):
    path = tmp_path / 'persons.json'
    write(path, [{}, values])
    found = problems(path)
    assert [problem.fatal for problem in found] == ([] if fatal is None else [fatal]), found
    assert message is None or re.search(f'^{path}.*{message}', found[0].message, re.DOTALL), found


def test_files_without_usable_objects(tmp_path):
    path = tmp_path / 'persons.json'
    for values in (dict(num_keypoints=0), dict(iscrowd=1), dict(bbox=[50, 50, 9, 9]), dict(bbox=[5, 5, 0, 9])):
        write(path, [values])
        found = problems(path)
        assert len(found) == 1 and 'mmpose leaves out all of its 1 annotations' in found[0].message, found
    write(path, missing=['keypoints'])
    assert 'has no annotation with both keypoints and a bbox' in problems(path)[0].message
    write(path, image_id='one')
    assert "mmpose needs integers as ids of images:\n  id 'one'" in problems(path)[0].message


@pytest.mark.parametrize('key, metric, needed', [
    ('iscrowd', {}, True), ('area', {}, True), ('area', dict(use_area=False), False), ('num_keypoints', {}, False),
    ('num_keypoints', dict(iou_type='keypoints_crowd'), True), ('keypoints', {}, True),
    ('iscrowd', dict(format_only=True, outfile_prefix='x'), False),
])
def test_what_the_metric_reads(key, metric, needed, tmp_path):
    path = tmp_path / 'persons.json'
    write(path, [{}, {}], missing=[key])
    assert problems(path) == [], 'mmpose trains without it'
    found = problems(path, 'val', **metric)
    assert len(found) == needed, found
    assert not needed or f'annotation 7 has no {key}' in found[0].message


GOOD = dict(image_id=1, category_id=1, bbox=[1, 1, 5, 5], score=.5)


@pytest.mark.parametrize('boxes, message', [
    ([GOOD], None),
    ([dict(GOOD, bbox=[1, 1, 5, 5, .9])], None),
    ([GOOD, dict(GOOD, category_id=3)], None),
    ({}, 'must hold a list of detections'),
    ([], 'must hold a list of detections'),
    ([GOOD, None], 'detection number 1: None is no object'),
    ([GOOD, dict(image_id=1, category_id=1, bbox=[1, 1, 5, 5])], 'detection number 1: has no score'),
    ([GOOD, dict(image_id=1, score=1, bbox=[1, 1, 5, 5])], 'detection number 1: has no category_id'),
    ([GOOD, dict(GOOD, image_id=2)], 'detection number 1: image_id 2 is none'),
    ([GOOD, dict(GOOD, image_id=[])], r'detection number 1: image_id \[\] is none'),
    ([GOOD, dict(GOOD, bbox=[1, 1, 5])], 'detection number 1: bbox'),
    ([GOOD, dict(GOOD, bbox=None)], 'detection number 1: bbox None'),
    ([GOOD, dict(GOOD, score=NAN)], 'detection number 1: score nan must be a finite number'),
    ([GOOD, dict(GOOD, score='1')], "detection number 1: score '1'"),
    ([dict(GOOD, category_id=0)], 'no detection has category_id 1, .* they have 0'),
    ([dict(GOOD, score=.1)], 'no detection has a score of bbox_score_thr=0.3 or more; the best is 0.1'),
], ids=str)
def test_one_fault_in_detections(boxes, message, tmp_path):
    path = tmp_path / 'persons.json'
    write(path)
    found = problems(path, 'val', boxes, dict(bbox_score_thr=.3))
    assert len(found) == (message is not None), found
    assert message is None or re.search(f'^{tmp_path}/boxes.json.*{message}', found[0].message, re.DOTALL), found


def test_persons_of_another_category(tmp_path):
    path = tmp_path / 'persons.json'
    write(path, category_id=0)
    assert problems(path, 'val') == []
    assert 'no annotation has category_id 1' in problems(path, 'val', [GOOD])[0].message
