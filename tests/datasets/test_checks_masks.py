"""Masks of segmentation: their kind, their values, and the classes that occur in them."""
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helpers import expect_bad_data, segmentation_config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from res2net_mm.datasets.checks import BuiltSplit
from res2net_mm.datasets.checks import masks as checks
from res2net_mm.datasets.checks.masks import DIVIDE, MaskLabels, MaskReader, check_masks, spans
from res2net_mm.datasets.checks.problems import report

pytest.importorskip('mmseg')
NAMES = 'abc'


def write_masks(root, array, names=NAMES, suffix='.png', **options):
    for name in names:
        path = root / 'SegmentationClass' / f'{name}{suffix}'
        (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)


def grey(*values):
    """A mask of 48 x 64 pixels with some values, in stripes."""
    mask = np.zeros((48, 64), np.uint8)
    for row, value in enumerate(values):
        mask[row] = value
    return mask


def problems(root, name='val', **options):
    """What is found in the masks of a split of two classes."""
    cfg = segmentation_config(root, name)
    cfg[f'{name}_dataloader'].dataset.update(options)
    init_default_scope('mmseg')
    return list(check_masks(BuiltSplit(name, [DATASETS.build(cfg[f'{name}_dataloader'].dataset)])))


def only(found):
    problem, = found
    return problem


@pytest.mark.parametrize('name', ['train', 'val'])
def test_masks_of_0_and_255(name, masks):
    """Before, the class was ignored without a word; what the message says to run mends it."""
    write_masks(masks, grey(255, 255))
    problem = only(problems(masks, name))
    assert problem.fatal and 'no values but 0, 255' in problem.message and 'thing would neither' in problem.message
    assert DIVIDE in problem.message
    command = [sys.executable, *shlex.split(DIVIDE)[1:], *map(str, (masks / 'SegmentationClass').glob('*.png'))]
    subprocess.run(command, check=True)
    assert problems(masks, name) == []


def test_0_and_255_in_some_masks_only(masks):
    """Where the class occurs somewhere, 255 is what it says: to be ignored."""
    write_masks(masks, grey(255), 'ab')
    assert problems(masks) == []
    write_masks(masks, grey(255), 'abc')
    assert 'label 255; allowed are 0 to 1 and 254' in only(problems(masks, ignore_index=254)).message


def test_classes_that_do_not_occur(masks):
    classes = ('nothing', 'thing', *(f'rare {i}' for i in range(7)))
    problem = only(problems(masks, metainfo=dict(classes=classes)))
    assert not problem.fatal and '\n' not in problem.message
    assert problem.message.startswith('val: 7 of the 9 classes occur in none of the 3 masks in ')
    assert problem.message.endswith('rare 0, rare 1, rare 2, rare 3, rare 4, ...')


def test_a_large_set_to_train_on_is_sampled(masks, monkeypatch):
    """Of a sample it cannot be said which classes do not occur; and the first and the last mask are in it."""
    monkeypatch.setattr(checks, 'TRAINING_SAMPLE', 2)
    seen = []
    read = MaskReader.read
    monkeypatch.setattr(MaskReader, 'read', lambda self, path: seen.append(path[-5:]) or read(self, path))
    assert problems(masks, 'train', metainfo=dict(classes=('nothing', 'thing', 'rare'))) == []
    assert seen == ['a.png', 'c.png']


def test_few_bad_masks_to_train_on_are_left_to_the_loading(masks):
    write_masks(masks, grey(7), 'a')
    assert problems(masks, 'train') == []
    write_masks(masks, grey(7))
    message = only(problems(masks, 'train')).message
    assert message.startswith('3 of the 3 masks to train on that were looked at are bad:')


def palette_mask():
    mask = Image.fromarray(grey(1, 255))
    mask.putpalette([0, 0, 0, 128, 0, 0] + 254 * [9, 9, 9])
    return mask


RED = np.zeros((48, 64, 3), np.uint8)
RED[:5] = 128, 0, 0
KINDS = [
    (RED, r'in colours, \(0, 0, 0\), \(128, 0, 0\); it must have one channel, of class numbers, 0 to 1 and 255: write '
          'the number of the class for each colour'),
    (np.dstack([RED, RED[..., 0]]), 'in colours'),
    (np.dstack(3 * [grey(1, 2)]), r'grey mask of 3 channels \(mode RGB\) with the values 0, 1, 2; .* write its first '),
    (np.dstack([grey(1), grey(9)]), r'grey mask of 2 channels \(mode LA\)'),
    (grey(1, 9, 3, 4, 5, 6, 7, 8), 'labels 3, 4, 5, 6, 7, ...; allowed are 0 to 1 and 255'),
    (grey(1).astype(np.uint16) * 256, r'label 256; allowed are .* \(it is of 16 bits'),
]


@pytest.mark.parametrize(('array', 'message'), KINDS)
def test_masks_of_another_kind(array, message, masks):
    write_masks(masks, array, 'b')
    problem = only(problems(masks))
    expect_bad_data(f'1 masks to evaluate on are bad:.*b.png is a .*{message}', report, [problem])


@pytest.mark.parametrize('mask', [palette_mask(), Image.fromarray(grey(1).astype(np.uint16)),
                                  Image.fromarray(grey(1).astype(bool))])
def test_masks_of_every_good_kind(mask, masks):
    write_masks(masks, mask)
    assert problems(masks) == []


def test_a_palette_that_opencv_reads_as_colours(masks):
    write_masks(masks, palette_mask())
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', imdecode_backend='cv2')]
    assert "imdecode_backend='cv2' reads as colours" in only(problems(masks, pipeline=pipeline)).message


def test_masks_as_jpeg(masks):
    write_masks(masks, cv2.resize(grey(255), (64, 48)), suffix='.jpg', quality=60)
    assert 'JPEG makes values in between' in only(problems(masks, seg_map_suffix='.jpg')).message


@pytest.mark.parametrize(('options', 'allowed'), [
    (dict(), '0 to 2 and 255'),
    (dict(reduce_zero_label=True), '0 to 3 and 255'),
    (dict(label_map={0: 255, 1: 0, 2: 1}), '0 to 2 and 255'),
    (dict(label_map={0: 255, 1: 0, 2: 1}, reduce_zero_label=True), '0 to 3 and 255'),
])
def test_values_are_read_as_mmseg_reads_them(options, allowed, masks):
    """Every value of a byte becomes what mmseg's own transform makes of it."""
    from mmseg.datasets.transforms import LoadAnnotations
    reader = MaskReader(MaskLabels(2 if 'label_map' in options else 3), **options)
    path = masks / 'all.png'
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    sample = dict(dict(seg_map_path=str(path), seg_fields=[], reduce_zero_label=False, label_map=None), **options)
    loaded = LoadAnnotations()(sample)['gt_seg_map']
    assert np.array_equal(reader.load(reader.read(str(path)).ravel()), loaded.ravel())
    assert reader.allowed == allowed


def test_spans():
    assert spans([0, 1, 2, 7, 9, 10]) == '0 to 2 and 7 and 9 to 10' and spans([]) == ''


def test_a_set_with_a_rule_of_its_own(saliency_sets):
    """Masks of salient objects are of 0 and 255."""
    from res2net_mm.datasets.saliency import SaliencyDataset
    dataset = SaliencyDataset(['ECSSD'], str(saliency_sets))
    assert list(check_masks(BuiltSplit('train', [dataset]))) == list(check_masks(BuiltSplit('val', [dataset]))) == []
