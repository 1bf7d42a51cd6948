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
