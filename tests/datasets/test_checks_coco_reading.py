"""What mmdet and pycocotools make of odd files in COCO's format: what they score, leave out, need, and mistake."""
import re

import pytest
from helpers import expect_bad_data
from test_checks_coco import (
    ANNOTATIONS,
    IMAGES,
    INF,
    NAN,
    REFUSED,
    SQUARE,
    config,
    drop,
    every,
    good,
    problems,
    put,
    write,
)

from res2net_mm.datasets.checks import check_data

pytest.importorskip('mmdet')


def warnings_of(data, split, tmp_path, **options):
    found = problems(config(write(tmp_path / 'file.json', data), split, **options), split)
    assert not any(problem.fatal for problem in found), found
    return [problem.message for problem in found]


@pytest.mark.parametrize('edit, message', [
    (put(ANNOTATIONS, 0, bbox=[10, 10, 0, 20]), r'1 objects have a box without area.* missed:.*annotation 1'),
    (put(ANNOTATIONS, 0, bbox=[30, 30, -20, -20]), r'1 objects have a box without area.* missed:.*annotation 1'),
    (put(ANNOTATIONS, 0, bbox=[-50, -50, 20, 20]), r'more than half outside of the image.* missed:.*annotation 1'),
    (put(ANNOTATIONS, 0, bbox=[90, 10, 30, 20]), r'more than half outside of the image.* missed:.*annotation 1'),
    (put(ANNOTATIONS, 0, area=-4), 'area below 0 .* out of the score:.*annotation 1: area -4'),
    (put(ANNOTATIONS, 0, area=INF), 'without end; .* out of the score:.*annotation 1: area inf'),
    (put(ANNOTATIONS, 0, area=NAN), 'the area NaN; .* among the small, the medium and the large ones:.*annotation 1'),
    (put(ANNOTATIONS, 0, id=0), 'id 0, .* counts as a wrong one.*annotation 0'),
    (put(IMAGES, 0, file_name='2.png'), 'several images; .*2.png: the images 1, 2'),
], ids=['flat', 'negative', 'outside', 'mostly outside', 'area below 0', 'endless', 'NaN', 'id 0', 'doubled file'])
def test_how_odd_objects_are_scored(edit, message, tmp_path):
    data = good()
    edit(data)
    found = warnings_of(data, 'val', tmp_path)
    assert len(found) == 1 and re.search(message, found[0], re.DOTALL), found


@pytest.mark.parametrize('values, ap', [
    (dict(), 1), (dict(bbox=[10, 10, 0, 20]), 0.721), (dict(bbox=[-50, -50, 20, 20]), 0.721), (dict(area=-4), 1),
    (dict(area=INF), 1), (dict(area=NAN), 1), (dict(id=0), 0.721), (dict(bbox=[90, 10, 30, 20]), 0.721),
])
def test_pycocotools_scores_as_the_messages_say(values, ap):
    """A detector that finds all six objects where they should be; one that does not count costs it a lot."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    truth, data = COCO(), good()
    found = [dict(image_id=a['image_id'], category_id=a['category_id'], bbox=[10., 10., 20., 20.], score=1.)
             for a in data['annotations']]
    data['annotations'][0].update(values)
    truth.dataset = data
    truth.createIndex()
    score = COCOeval(truth, truth.loadRes(found), 'bbox')
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(ap, abs=0.03)
    if values.get('area') is NAN:
        assert score.stats[3:6].tolist() == pytest.approx([1, 1, 1])


def test_what_mmdet_leaves_out_of_training(tmp_path):
    """The warning counts what a built dataset lacks."""
    from mmdet.datasets import CocoDataset
    data = good()
    for number, values in enumerate((dict(bbox=[10, 10, 0, 20]), dict(bbox=[-50, 0, 20, 20]), dict(area=0), dict(
            area=NAN), dict(bbox=[10, 10, .5, 3]))):
        data['annotations'][number].update(values)
    found = warnings_of(data, 'train', tmp_path)
    assert len(found) == 1 and 'leaves 4 of 6 objects out of the train dataset' in found[0], found
    dataset = CocoDataset(ann_file=str(tmp_path / 'file.json'), metainfo=dict(classes=('cat', 'dog')),
                          data_prefix=dict(img=''))
    assert sum(len(dataset[index]['instances']) for index in range(3)) == 2


def test_everything_is_left_out(tmp_path):
    data = good()
    every(ANNOTATIONS, 'area', lambda area: 0)(data)
    cfg = config(write(tmp_path / 'train.json', data), 'train')
    expect_bad_data('leaves 6 of 6 objects out.*annotation 1: area 0 is not above 0', check_data, cfg, ['train'])


@pytest.mark.parametrize('filters, message', [
    (dict(min_size=81), 'train_dataloader.dataset.filter_cfg leaves none of the 3 images: .* 80 pixels; '
                        'set train_dataloader.dataset.filter_cfg.min_size=80'),
    (dict(min_size='32'), "filter_cfg.min_size is '32'; it must be a number"),
    (dict(min_size=80, filter_empty_gt=True), None),
])
def test_filters(filters, message, tmp_path):
    cfg = config(write(tmp_path / 'train.json', good()), 'train', filter_cfg=filters)
    if message:
        expect_bad_data(message, check_data, cfg, ['train'])
    else:
        check_data(cfg, ['train'])


def test_masks_are_only_needed_where_they_are_read(tmp_path):
    data = good()
    drop(ANNOTATIONS, 'segmentation')(data)
    put(ANNOTATIONS, 0, area=0)(data)  # mmdet leaves it out
    path = write(tmp_path / 'file.json', data)
    masks = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    check_data(config(path, 'train'), ['train'])
    expect_bad_data('5 of 5 objects have no segmentation, which the pipeline of train_dataloader.dataset reads',
                    check_data, config(path, 'train', masks), ['train'])
    boxes = config(path, 'val')
    boxes.val_evaluator.metric = 'bbox'
    check_data(boxes, ['val'])
    boxes.val_dataloader.dataset.pipeline = masks
    expect_bad_data('5 of 5 objects have no segmentation', check_data, boxes, ['val'])
    data['annotations'][1]['segmentation'] = [[1, 2, 3, 4]]
    for annotation in data['annotations'][2:]:
        annotation['segmentation'] = SQUARE
    write(path, data)
    thin = problems(config(path, 'train', masks), 'train')
    assert [problem.fatal for problem in thin] == [False, False] and 'leaves these polygons out' in thin[1].message


def test_crowds_are_only_needed_where_they_are_read(tmp_path):
    """mmdet trains without iscrowd, and scores without it where the metric has no file of its own."""
    data = good()
    drop(ANNOTATIONS, 'iscrowd')(data)
    path = write(tmp_path / 'file.json', data)
    cfg = config(path, 'val')
    check_data(config(path, 'train'), ['train'])
    expect_bad_data('annotation 1 has no iscrowd', check_data, cfg, ['val'])
    cfg.val_evaluator = dict(type='CocoMetric', format_only=True, ann_file=str(path), outfile_prefix='x')
    check_data(cfg, ['val'])
    cfg.val_evaluator = dict(type='CocoMetric')
    check_data(cfg, ['val'])


def test_a_metric_with_another_file(tmp_path):
    data = good()
    cfg = config(write(tmp_path / 'val.json', data), 'val')
    cfg.val_evaluator.ann_file = str(write(tmp_path / 'other.json', data))
    check_data(cfg, ['val'])
    put(IMAGES, 0, file_name='9.png')(data)
    write(tmp_path / 'other.json', data)
    expect_bad_data(f'{tmp_path}/other.json, which the metric reads, does not have 1 of the 3 images.*image 1',
                    check_data, cfg, ['val'])
    drop(ANNOTATIONS, 'iscrowd', 0)(data)
    write(tmp_path / 'other.json', dict(data, images=good()['images']))
    expect_bad_data(f'{tmp_path}/other.json: 1 of 6 annotations lack', check_data, cfg, ['val'])


def test_names_that_are_in_order_although_odd(tmp_path):
    data = good()
    (tmp_path / 'images').mkdir()
    for number in range(3):
        (tmp_path / f'{number}.png').touch()
        data['images'][number]['file_name'] = (str(tmp_path / '0.png'), '../1.png', './2.png')[number]
    path = write(tmp_path / 'train.json', data)
    cfg = config(path, 'train')
    cfg.train_dataloader.dataset.data_prefix.img = str(tmp_path / 'images')
    check_data(cfg, ['train'])


def test_mmdet_numbers_doubled_names_and_other_orders_wrongly(tmp_path):
    """What the two refusals are for, by mmdet itself."""
    from mmdet.datasets import CocoDataset

    def labels(data):
        path = write(tmp_path / 'file.json', data)
        dataset = CocoDataset(ann_file=str(path), metainfo=dict(classes=('cat', 'dog')),
                              data_prefix=dict(img=''))
        return [instance['bbox_label'] for instance in dataset[0]['instances']]
    data = good()
    assert labels(data) == [0, 1]
    REFUSED['category name doubled'][0](data)
    assert labels(data) == [1, 2]
    data = good()
    REFUSED['categories in another order'][0](data)
    assert labels(data) == [1, 0]
