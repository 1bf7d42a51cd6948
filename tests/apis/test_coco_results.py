"""Records: what is in them, that pycocotools reads them, and the numbers of COCO's classes."""
import json

import numpy as np
import pytest

from res2net_mm.apis import Prediction
from res2net_mm.apis.coco_results import COCO_IDS, category_ids, image_ids, run_lengths, to_records

decode = pytest.importorskip('pycocotools.mask').decode
SIZE = (20, 30)


def test_images_are_called_by_the_numbers_that_their_files_are():
    assert image_ids(['val/000000000139.jpg', 'x/a1.jpg', '7.tar.jpg']) == {
        'val/000000000139.jpg': 139, 'x/a1.jpg': 'x/a1.jpg', '7.tar.jpg': '7.tar.jpg'}
    assert image_ids(['a/1.jpg', 'b/01.jpg']) == {'a/1.jpg': 'a/1.jpg', 'b/01.jpg': 'b/01.jpg'}


def test_coco_classes_have_cocos_ids_and_others_their_places():
    names = pytest.importorskip('mmdet.datasets').CocoDataset.METAINFO['classes']
    ids = dict(zip(names, category_ids(names)))
    assert len(names) == len(COCO_IDS) == 80
    assert [ids[name] for name in ('person', 'stop sign', 'bear', 'tie', 'dining table', 'toilet', 'toothbrush')] == [
        1, 13, 23, 32, 67, 70, 90]
    assert category_ids(('person', 'cat')) == (1, 2) and category_ids(names[::-1]) == tuple(range(1, 81))


def test_objects_are_read_and_scored_by_pycocotools(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 2:8, 3:9], masks[1, 10:15, 12:20] = True, True
    boxes = np.array([[3, 2, 9, 8], [12, 10, 20, 15]], np.float32)
    found = Prediction('detection', SIZE, ('a', 'b'), np.array([1, 0]), np.array([0.9, 0.8], np.float32), boxes, masks)
    records = json.loads(json.dumps(to_records(found, 5)))
    truth = [dict(id=i + 1, iscrowd=0, area=float(masks[i].sum()), **{
        key: record[key] for key in ('image_id', 'category_id', 'bbox', 'segmentation')})
        for i, record in enumerate(records)]
    (tmp_path / 'truth.json').write_text(json.dumps(dict(
        info={}, images=[dict(id=5, height=20, width=30)], annotations=truth,
        categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    coco = COCO(str(tmp_path / 'truth.json'))
    for kind in ('bbox', 'segm'):
        evaluation = COCOeval(coco, coco.loadRes(records), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1)


def test_keypoints_classes_segments_and_saliency():
    points = np.arange(9, dtype=np.float32).reshape(1, 3, 3) / 8
    pose = Prediction('keypoints', SIZE, ('person', ), np.array([0]), np.array([0.5], np.float32),
                      np.zeros((1, 4), np.float32), keypoints=points)
    assert to_records(pose, 'a.jpg') == [dict(image_id='a.jpg', category_id=1, category='person', score=0.5,
                                              keypoints=[i / 8 for i in range(9)])]
    classes = Prediction('classification', SIZE, tuple('abcdefg'), np.arange(7)[::-1], np.full(7, 1 / 7, np.float32))
    record, = to_records(classes, 3)
    assert record['categories'] == list('gfedc') and record['category_ids'] == [7, 6, 5, 4, 3]
    labels = np.zeros(SIZE, np.uint8)
    labels[:5] = 2
    first, last = to_records(Prediction('segmentation', SIZE, tuple('abc'), segmentation=labels), 3)
    assert (first['category'], last['category'], last['category_id']) == ('a', 'c', 3)
    assert (decode(last['segmentation']) == (labels == 2)).all()
    saliency = np.zeros(SIZE, np.float32)
    saliency[:2] = 0.75
    record, = to_records(Prediction('saliency', SIZE, ('background', 'salient'), saliency=saliency), 3)
    assert record['score'] == 0.75 and decode(record['segmentation']).sum() == 60
    assert run_lengths(saliency > 2)['size'] == [20, 30]
