"""Files in COCO's format that are broken in one place each: one message that names the file and the entry, or none."""
import copy
import json
import re

import pytest
from helpers import expect_bad_data
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks import BadDataError, check_data
from res2net_mm.datasets.checks.configs import check_annotations, dataset_settings

pytest.importorskip('mmdet')
NAN, INF = float('nan'), float('inf')
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def good():
    """Three images of 100 x 80 pixels with a cat and a dog each."""
    annotations = [dict(id=number + 1, image_id=1 + number // 2, category_id=1 + number % 2, bbox=[10, 10, 20, 20],
                        area=400, iscrowd=0, segmentation=copy.deepcopy(SQUARE)) for number in range(6)]
    return dict(images=[dict(id=number, file_name=f'{number}.png', height=80, width=100) for number in (1, 2, 3)],
                annotations=annotations, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])


def config(path, split, pipeline=(), **options):
    data = dict(type='CocoDataset', ann_file=str(path), metainfo=dict(classes=('cat', 'dog')),
                data_prefix=dict(img=str(path.parent)), test_mode=split == 'val', pipeline=list(pipeline), **options)
    cfg = ConfigDict({'default_scope': 'mmdet', f'{split}_dataloader': dict(dataset=data)})
    if split == 'val':
        cfg.val_evaluator = dict(type='CocoMetric', ann_file=str(path), metric=['bbox', 'segm'])
    return cfg


def problems(cfg, split):
    return [problem for settings in dataset_settings(cfg, split) for problem in check_annotations(settings)]


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def put(entries, number, /, **values):
    """An edit that changes values of the entry of a list."""
    return lambda data: data[entries][number].update(values)


def drop(name, key, number=None):
    """An edit that removes a key from an entry of a list, or from all."""
    def edit(data):
        for entry in data[name] if number is None else [data[name][number]]:
            del entry[key]
    return edit


def every(name, key, change):
    """An edit that changes a value of every entry of a list."""
    return lambda data: [entry.update({key: change(entry[key])}) for entry in data[name]]


def both(*edits):
    return lambda data: [edit(data) for edit in edits]


def run_lengths(counts, size=(80, 100)):
    return put('annotations', 0, segmentation=dict(size=list(size), counts=counts))


IMAGES, ANNOTATIONS, CATEGORIES = 'images', 'annotations', 'categories'
REFUSED = {  # by what is wrong: the edit, and what the message must say of the entry
    'image null': (lambda data: data[IMAGES].append(None), r'images\[3\] is None'),
    'image a number': (lambda data: data[IMAGES].append(7), r'images\[3\] is 7'),
    'category null': (lambda data: data[CATEGORIES].append(None), r'categories\[2\] is None'),
    'annotation null': (lambda data: data[ANNOTATIONS].append(None), r'annotations\[6\] is None'),
    'annotation a list': (lambda data: data[ANNOTATIONS].append([1]), r'annotations\[6\] is \[1\]'),
    'images null': (lambda data: data.update(images=None), 'images is a NoneType'),
    'images an object': (lambda data: data.update(images={}), 'images is a dict'),
    'images a text': (lambda data: data.update(images='x'), 'images is a str'),
    'annotations null': (lambda data: data.update(annotations=None), 'annotations is a NoneType'),
    'categories null': (lambda data: data.update(categories=None), 'categories is a NoneType'),
    'no categories': (lambda data: data.pop(CATEGORIES), r"holds the keys \['images', 'annotations'\]"),
    'categories empty': (lambda data: data.update(categories=[], annotations=[]), 'has no categories'),
    'images empty': (lambda data: data.update(images=[], annotations=[]), 'has no images'),
    'image without id': (drop(IMAGES, 'id', 2), r'images\[2\]: has no id'),
    'image id null': (put(IMAGES, 2, id=None), r'images\[2\]: id None'),
    'image id a list': (put(IMAGES, 2, id=[3]), r'images\[2\]: id \[3\]'),
    'image id true': (put(IMAGES, 2, id=True), r'images\[2\]: id True'),
    'image id 3.5': (put(IMAGES, 2, id=3.5), r'images\[2\]: id 3.5'),
    'image id doubled': (put(IMAGES, 2, id=2), r'images with the same id.*id 2 \(2 images\)'),
    'image ids mixed': (both(put(IMAGES, 0, id='1'), every(ANNOTATIONS, 'image_id', lambda i: '1' if i == 1 else i)),
                        "must be all integers or all texts; 1 of 3 are texts:.*id '1'"),
    'no height': (drop(IMAGES, 'height', 1), 'image 2: has no height'),
    'height a text': (put(IMAGES, 1, height='80'), "image 2: height '80'"),
    'height null': (put(IMAGES, 1, height=None), 'image 2: height None'),
    'width true': (put(IMAGES, 1, width=True), 'image 2: width True'),
    'width 0': (put(IMAGES, 1, width=0), 'image 2: width 0'),
    'width negative': (put(IMAGES, 1, width=-3), 'image 2: width -3'),
    'width NaN': (put(IMAGES, 1, width=NAN), 'image 2: width nan'),
    'width huge': (put(IMAGES, 1, width=10 ** 400), 'image 2: width 1000'),
    'no file name': (drop(IMAGES, 'file_name', 1), 'image 2: has no file_name'),
    'file name a number': (put(IMAGES, 1, file_name=7), 'image 2: file_name 7'),
    'file name null': (put(IMAGES, 1, file_name=None), 'image 2: file_name None'),
    'file name empty': (put(IMAGES, 1, file_name=''), "image 2: file_name ''"),
    'file name a list': (put(IMAGES, 1, file_name=['a']), r"image 2: file_name \['a'\]"),
    'file name absolute': (put(IMAGES, 1, file_name='/data/2.png'), "file_name '/data/2.png'"),
    'file name of Windows': (put(IMAGES, 1, file_name='D:\\data\\2.png'), r"file_name 'D:\\\\data"),
    'file name with backslashes': (put(IMAGES, 1, file_name='a\\2.png'), r"file_name 'a\\\\2.png'"),
    'file name an address': (put(IMAGES, 1, file_name='http://x.org/2.png'), "file_name 'http://x.org"),
    'file name with ..': (put(IMAGES, 1, file_name='../../2.png'), "file_name '../../2.png'"),
    'category without name': (drop(CATEGORIES, 'name', 1), 'category 2: has no name'),
    'category name null': (put(CATEGORIES, 1, name=None), 'category 2: name None'),
    'category name a number': (put(CATEGORIES, 1, name=5), 'category 2: name 5'),
    'category id a list': (put(CATEGORIES, 1, id=[]), r'categories\[1\]: id \[\]'),
    'category id doubled': (lambda data: data[CATEGORIES].append(dict(id=2, name='cow')),
                            r'categories with the same id.*id 2 \(2 categories\)'),
    'category ids mixed': (both(put(CATEGORIES, 0, id='1'),
                                every(ANNOTATIONS, 'category_id', lambda i: '1' if i == 1 else i)),
                           "ids of categories must be all integers or all texts.*id '1'"),
    'category name doubled': (lambda data: data[CATEGORIES].insert(0, dict(id=0, name='cat')),
                              r"'cat' is id 0 \(0 objects\), id 1 \(3 objects\)"),
    'category name in capitals': (put(CATEGORIES, 0, name='Cat'), "Missing are:.*'cat'; the nearest is 'Cat'"),
    'category name with a blank': (put(CATEGORIES, 0, name='cat '), "Missing are:.*'cat'; the nearest is 'cat '"),
    'categories twice, in capitals': (both(lambda data: data[CATEGORIES].append(dict(id=3, name='CAT')),
                                           put(ANNOTATIONS, 0, category_id=3)),
                                      r"'CAT' \(id 3\) is left out, 'cat' is a class"),
    'categories in another order': (lambda data: data[CATEGORIES].reverse(),
                                    r"'dog' would be named 'cat'. Write metainfo=dict\(classes=\('dog', 'cat'\)\)"),
    'annotation without id': (drop(ANNOTATIONS, 'id', 3), r'annotations\[3\]: has no id'),
    'annotation id null': (put(ANNOTATIONS, 3, id=None), r'annotations\[3\]: id None'),
    'annotation id a letter': (put(ANNOTATIONS, 3, id='x'), "needs numbers as ids of annotations:.*id 'x'"),
    'annotation ids doubled': (put(ANNOTATIONS, 3, id=2), r'annotations with the same id.*id 2 \(2 annotations\)'),
    'no image id': (drop(ANNOTATIONS, 'image_id', 3), 'annotation 4: has no image_id'),
    'image id unknown': (put(ANNOTATIONS, 3, image_id=99), 'annotation 4: image_id 99 is none of the 3'),
    'image id as text': (put(ANNOTATIONS, 3, image_id='2'), "annotation 4: image_id '2' is none of the 3"),
    'image id an object': (put(ANNOTATIONS, 3, image_id={}), 'annotation 4: image_id {}'),
    'category id unknown': (put(ANNOTATIONS, 3, category_id=0), 'annotation 4: category_id 0 is none of .* 1 to 2'),
    'category id null': (put(ANNOTATIONS, 3, category_id=None), 'annotation 4: category_id None'),
    'no bbox': (drop(ANNOTATIONS, 'bbox', 3), 'annotation 4: has no bbox'),
    'bbox null': (put(ANNOTATIONS, 3, bbox=None), 'annotation 4: bbox None'),
    'bbox empty': (put(ANNOTATIONS, 3, bbox=[]), r'annotation 4: bbox \[\]'),
    'bbox of texts': (put(ANNOTATIONS, 3, bbox=['1', 2, 3, 4]), r"annotation 4: bbox \['1'"),
    'bbox with true': (put(ANNOTATIONS, 3, bbox=[True, 2, 3, 4]), r'annotation 4: bbox \[True'),
    'bbox with NaN': (put(ANNOTATIONS, 3, bbox=[NAN, 2, 3, 4]), r'annotation 4: bbox \[nan'),
    'bbox infinite': (put(ANNOTATIONS, 3, bbox=[1, 2, INF, 4]), r'annotation 4: bbox \[1, 2, inf'),
    'bbox huge': (put(ANNOTATIONS, 3, bbox=[1, 2, 10 ** 400, 4]), r'annotation 4: bbox \[1, 2, 1000'),
    'bbox of five': (put(ANNOTATIONS, 3, bbox=[1, 2, 3, 4, 5]), r'annotation 4: bbox \[1, 2, 3, 4, 5\]'),
    'bbox an object': (put(ANNOTATIONS, 3, bbox=dict(x=1)), r"annotation 4: bbox {'x'"),
    'no area': (drop(ANNOTATIONS, 'area', 3), 'annotation 4: has no area'),
    'area a text': (put(ANNOTATIONS, 3, area='400'), "annotation 4: area '400'"),
    'area null': (put(ANNOTATIONS, 3, area=None), 'annotation 4: area None'),
    'area true': (put(ANNOTATIONS, 3, area=True), 'annotation 4: area True'),
    'no iscrowd': (drop(ANNOTATIONS, 'iscrowd'), '6 of 6 annotations lack .*annotation 1 has no iscrowd'),
    'iscrowd null': (put(ANNOTATIONS, 3, iscrowd=None), '1 of 6 annotations lack .*annotation 4 has no iscrowd'),
    'iscrowd a text': (put(ANNOTATIONS, 3, iscrowd='0'), "annotation 4: iscrowd '0'"),
    'no segmentation': (drop(ANNOTATIONS, 'segmentation', 3), '1 of 6 objects have no segmentation.*annotation 4'),
    'segmentation null': (put(ANNOTATIONS, 3, segmentation=None), 'no segmentation.*annotation 4'),
    'segmentation empty': (put(ANNOTATIONS, 3, segmentation=[]), 'no segmentation.*annotation 4'),
    'segmentation a text': (put(ANNOTATIONS, 3, segmentation='x'), 'annotation 4: segmentation must be a list'),
    'polygon not in a list': (put(ANNOTATIONS, 3, segmentation=[1, 2, 3, 4, 5, 6]), 'annotation 4: segmentation must'),
    'polygon empty': (put(ANNOTATIONS, 3, segmentation=[[]]), 'at least three x, y.*annotation 4'),
    'polygon of two points': (put(ANNOTATIONS, 3, segmentation=[[1, 2, 3, 4]]), 'at least three x, y.*annotation 4'),
    'polygon of odd length': (put(ANNOTATIONS, 3, segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'three x, y.*annotation 4'),
    'polygon of texts': (put(ANNOTATIONS, 3, segmentation=[['1'] * 6]), 'annotation 4: segmentation has a polygon'),
    'polygon with null': (put(ANNOTATIONS, 3, segmentation=[[1, 2, 3, None, 5, 6]]), 'annotation 4: segmentation has'),
    'polygon with NaN': (put(ANNOTATIONS, 3, segmentation=[[1, 2, 3, NAN, 5, 6]]), 'annotation 4: segmentation has'),
    'polygon huge': (put(ANNOTATIONS, 3, segmentation=[[1, 2, .5, 10 ** 400, 5, 6]]), 'annotation 4: segmentation has'),
    'mask of another size': (run_lengths([9000], (90, 100)), r'annotation 1: mask of size \[90, 100\]'),
    'mask without counts': (put(ANNOTATIONS, 0, segmentation=dict(size=[80, 100])), 'annotation 1: counts'),
    'mask too short': (run_lengths([100, 100]), 'annotation 1: counts .* make 200 pixels; its image has 8000'),
    'mask too long': (run_lengths([0, 20000]), 'annotation 1: counts .* make 20000 pixels'),
    'mask of fractions': (run_lengths([1.5, 7998.5]), 'annotation 1: counts'),
    'mask of texts': (run_lengths([10, 'a']), 'annotation 1: counts'),
    'mask negative': (run_lengths([-5, 8005]), 'annotation 1: counts'),
    'mask compressed badly': (run_lengths('x'), 'annotation 1: counts'),
    'mask compressed, empty': (run_lengths(''), 'annotation 1: counts'),
    'mask compressed, too short': (run_lengths('1'), 'annotation 1: counts .* make 1 pixels'),
    'no object of the classes': (lambda data: data[CATEGORIES].append(dict(id=3, name='cow')) or every(
        ANNOTATIONS, 'category_id', lambda i: 3)(data), 'has no annotation of the classes'),
}
ACCEPTED = {
    'unchanged': lambda data: None,
    'category ids from 0, with holes': both(every(CATEGORIES, 'id', lambda i: (i - 1) * 7),
                                            every(ANNOTATIONS, 'category_id', lambda i: (i - 1) * 7)),
    'ids as texts': both(every(IMAGES, 'id', str), every(ANNOTATIONS, 'image_id', str)),
    'ids as 1.0': both(every(IMAGES, 'id', float), every(ANNOTATIONS, 'id', float)),
    'negative ids': both(every(IMAGES, 'id', lambda i: -i), every(ANNOTATIONS, 'image_id', lambda i: -i)),
    'huge ids': both(every(IMAGES, 'id', lambda i: i + 2 ** 70), every(ANNOTATIONS, 'image_id', lambda i: i + 2 ** 70)),
    'iscrowd false': put(ANNOTATIONS, 0, iscrowd=False),
    'a category that is no class': lambda data: data['categories'].append(dict(id=9, name='unused')),
    'a doubled category that is no class': lambda data: data['categories'].extend(
        dict(id=number, name='unused') for number in (8, 9)),
    'names that are not English': put(IMAGES, 0, file_name='人 行/者.png'),
    'an image without objects': lambda data: data['images'].append(dict(data['images'][0], id=9, file_name='9.png')),
    'a size as 80.0': put(IMAGES, 0, height=80.0),
    'nulls that nobody reads': put(IMAGES, 0, license=None, date_captured=None),
    'a mask of run lengths': run_lengths([1000, 500, 6500]),
    'a mask of compressed run lengths': run_lengths('PPPPPPh7'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_one_message_for_one_fault(name, tmp_path):
    data = good()
    edit, message = REFUSED[name]
    edit(data)
    path = write(tmp_path / 'val.json', data)
    found = problems(config(path, 'val', [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]), 'val')
    assert len(found) == 1 and found[0].fatal, found
    assert re.search(f'^{path}.*{message}', found[0].message, re.DOTALL), found[0].message


@pytest.mark.parametrize('name', ACCEPTED)
def test_nothing_is_said_of_what_works(name, tmp_path):
    data = good()
    ACCEPTED[name](data)
    if 'compressed' in name:
        from pycocotools import mask
        counts = mask.frPyObjects(dict(size=[80, 100], counts=[1000, 3, 17, 500, 6480]), 80, 100)['counts'].decode()
        data['annotations'][0]['segmentation']['counts'] = counts
    path = write(tmp_path / 'val.json', data)
    for split in ('train', 'val'):
        assert problems(config(path, split, [dict(type='LoadAnnotations', with_mask=True)]), split) == []


def as_object(text):
    return json.dumps(good()).replace('"area": 400', f'"area": {text}', 1).encode()


@pytest.mark.parametrize('content, message', [
    (b'[]', 'must hold the lists images, categories of COCO\'s format; it holds a list'),
    (b'null', 'it holds a NoneType'),
    (b'"text"', 'it holds a str'),
    (b'{}', r'it holds the keys \[\]'),
    (b'\xef\xbb\xbf' + as_object('1'), 'is text in UTF-8 with a byte order mark'),
    (json.dumps(good()).encode('utf-16'), 'is text in UTF-16'),
    (as_object('1').replace(b'cat', b'c\xe4t'), 'is not text in UTF-8'),
    (b'[' * 100_000 + b']' * 100_000, 'nested too deeply'),
    (as_object('[' * 100_000 + ']' * 100_000), 'nested too deeply'),
    (as_object('9' * 5000), 'cannot be read: .*digits'),
    (as_object('1')[:-40], 'is not valid JSON'),
], ids=['list', 'null', 'text', 'empty', 'BOM', 'UTF-16', 'Latin-1', 'deep', 'deep inside', 'digits', 'cut off'])
def test_what_is_no_such_file(content, message, tmp_path):
    path = write(tmp_path / 'val.json', content)
    found = problems(config(path, 'val'), 'val')
    assert len(found) == 1 and re.search(f'^{path}.*{message}', found[0].message), found


@pytest.mark.parametrize('edit, message', [
    (lambda data: data.pop('annotations'), "must hold the lists images, categories, annotations.*'categories'"),
    (lambda data: data.update(annotations=[]), 'has no annotations'),
    (lambda data: data.update(annotations=[a for a in data['annotations'] if a['category_id'] == 1]),
     'has no annotation of the classes'),
], ids=['no list', 'empty', 'other classes'])
def test_training_without_annotations(edit, message, tmp_path):
    data = good()
    edit(data)
    cfg = config(write(tmp_path / 'train.json', data), 'train')
    cfg.train_dataloader.dataset.metainfo.classes = ('dog', )
    expect_bad_data(message, check_data, cfg, ['train'])


def test_all_faults_of_a_file_are_said_at_once(tmp_path):
    """Several faults of different kinds, each once, although two splits and a metric read the file."""
    data = good()
    names = ('height a text', 'bbox null', 'category name doubled', 'annotation ids doubled', 'file name absolute')
    edits = dict(REFUSED, **{'annotation ids doubled': (put(ANNOTATIONS, 5, id=2), 'id 2'), 'file name absolute': (
        put(IMAGES, 2, file_name='/data/3.png'), "'/data/3.png'")})
    for name in names:
        edits[name][0](data)
    path = write(tmp_path / 'both.json', data)
    cfg = ConfigDict({**config(path, 'train'), **config(path, 'val')})
    with pytest.raises(BadDataError) as error:
        check_data(cfg, ['train', 'val'])
    for text in ("height '80'", 'bbox None', "'cat' is id 0", 'id 2 (2 annotations)', "'/data/3.png'"):
        assert str(error.value).count(text) == (2 if text.startswith("'/data") else 1), error.value


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
