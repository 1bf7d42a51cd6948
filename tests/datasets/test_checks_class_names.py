"""Names of classes in a config: one sentence with the key that they stand under."""
import re

import pytest
from mmengine.config import ConfigDict

from res2net_mm.datasets.checks.class_names import nearest, plain, twins
from res2net_mm.datasets.checks.configs import check_annotations, dataset_settings

TOOLBOXES = {'mmdet': ('CocoDataset', 'VOCDataset'), 'mmseg': ('BaseSegDataset', ),
             'mmpretrain': ('CustomDataset', 'ImageNet')}


def messages(scope, kind, **options):
    pytest.importorskip(scope)
    cfg = ConfigDict(default_scope=scope, train_dataloader=dict(dataset=dict(type=kind, ann_file='none', **options)))
    return [problem.message for settings in dataset_settings(cfg, 'train') for problem in check_annotations(settings)]


@pytest.mark.parametrize('scope, kind', [(scope, kind) for scope, kinds in TOOLBOXES.items() for kind in kinds])
@pytest.mark.parametrize('classes, message', [
    ('a', r"is the text 'a', and no file of that name exists; write metainfo=dict\(classes=\('a', \)\)"),
    ('cat, dog', r"write metainfo=dict\(classes=\('cat', 'dog'\)\)"),
    ('..', "is the text '..', and no file"),
    ('names.txt', "is the text 'names.txt', and no file"),
    ((), 'has no name'),
    (5, 'is 5, and no list of names'),
    (dict(a=1), 'and no list of names'),
    (('a', 5), 'has 5 among its names'),
    (('a', None, ' '), "has None, ' ' among its names"),
    (('a', 'b', 'a'), r'more than once: a \(2 times\)'),
])
def test_names_of_every_toolbox(scope, kind, classes, message):
    found = messages(scope, kind, metainfo=dict(classes=classes))
    assert len(found) == 1 and re.search(f'^train_dataloader.dataset.metainfo.classes .*{message}', found[0]), found


def test_a_file_of_names(tmp_path):
    """mmengine takes a text for the name of a file with a name a line."""
    path = tmp_path / 'names.txt'
    path.write_text('cat\ndog\n')
    assert messages('mmdet', 'CocoDataset', metainfo=dict(classes=str(path))) == []
    path.write_text('cat\n\ndog\n')
    assert "has '' among its names" in messages('mmdet', 'CocoDataset', metainfo=dict(classes=str(path)))[0]


def test_names_under_an_older_key():
    """Configs of the toolboxes' earlier versions."""
    found = messages('mmdet', 'CocoDataset', classes=('cat', 'dog'))
    assert len(found) == 1 and "write metainfo=dict(classes=('cat', 'dog'))" in found[0], found
    found = messages('mmdet', 'CocoDataset', metainfo=dict(CLASSES=('cat', 'dog')))
    assert len(found) == 1 and 'metainfo.CLASSES is not read' in found[0], found
    assert messages('mmpretrain', 'CustomDataset', classes=('cat', 'dog')) == []
    found = messages('mmpretrain', 'CustomDataset', classes=('cat', 'cat'))
    assert len(found) == 1 and found[0].startswith('train_dataloader.dataset.classes has names more than once'), found


def test_the_key_of_a_wrapped_dataset():
    pytest.importorskip('mmdet')
    inner = dict(type='CocoDataset', metainfo=dict(classes='a'))
    several = dict(type='ConcatDataset', datasets=[dict(type='CocoDataset'), inner])
    cfg = ConfigDict(default_scope='mmdet', train_dataloader=dict(dataset=dict(
        type='RepeatDataset', times=2, dataset=several)))
    found = [problem.message for settings in dataset_settings(cfg, 'train') for problem in check_annotations(settings)]
    assert len(found) == 1
    assert found[0].startswith('train_dataloader.dataset.dataset.datasets.1.metainfo.classes is the text')


def test_names_that_look_alike():
    found = messages('mmdet', 'CocoDataset', metainfo=dict(classes=('Cat', 'cat ', 'dog')))
    assert len(found) == 1 and "'Cat' and 'cat ', which differ only by case or blanks" in found[0]
    assert twins(('traffic light', 'traffic-light', 'Cat')) == [['traffic light', 'traffic-light']]
    assert plain(' Traffic_Light') == 'trafficlight'
    assert nearest('persn', ('dog', 'person')) == 'person' and nearest('x', ('dog', 'person')) is None


def test_a_part_of_the_classes_of_a_segmentation_set():
    assert messages('mmseg', 'CityscapesDataset', metainfo=dict(classes=('road', 'car'))) == []
    found = messages('mmseg', 'CityscapesDataset', metainfo=dict(classes=('Road', 'unicorn')))
    assert len(found) == 1 and re.search("does not know.*'Road'; the nearest is 'road'.*'unicorn'", found[0], re.DOTALL)
