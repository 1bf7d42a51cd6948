"""What a config names: everything that is missing or empty is found before the run."""
import json
import shutil

import pytest
from helpers import cut, detection_config, expect_bad_data, segmentation_config
from mmengine.config import Config

from res2net_mm.datasets.checks import check_data, skip_bad_samples
from res2net_mm.datasets.checks.configs import leaves
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_edits import move_data_root

pytest.importorskip('mmdet')


def test_coco_file_that_is_cut_off_or_missing(broken_shapes):
    path = broken_shapes / 'annotations' / 'instances_train2017.json'
    cut(path)
    expect_bad_data(f'{path} is not valid JSON', check_data, detection_config(broken_shapes), ['train'])
    path.write_text('')
    expect_bad_data(f'{path} is empty', check_data, detection_config(broken_shapes), ['train'])
    path.unlink()
    expect_bad_data(f'train_dataloader: {path}', check_data, detection_config(broken_shapes), ['train'])
    check_data(detection_config(broken_shapes, 'val'), ['val'])


def test_what_data_root_does_not_replace(tmp_path):
    """A dataset with another data_root than the top of its config stays where it is, and the message says so."""
    cfg = Config(dict(data_root='data/base/', train_dataloader=dict(
        dataset=dict(type='VOCDataset', data_root='data/mine/', ann_file='train.txt'))))
    move_data_root(cfg, str(tmp_path))
    expect_bad_data(f"train_dataloader: data/mine/.*data_root at the top of the config, here '{tmp_path}/'",
                    check_data, cfg, ['train'])
    cfg.train_dataloader.dataset.data_root = f'{tmp_path}/none'
    with pytest.raises(Exception) as caught:
        check_data(cfg, ['train'])
    assert 'does not exist' in str(caught.value) and 'at the top' not in str(caught.value)


def test_sets_without_annotations(broken_shapes):
    """A test set whose predictions are only written, and an unlabelled training set, need none."""
    for split, key in (('train', 'annotations'), ('val', 'annotations')):
        path = broken_shapes / 'annotations' / f'instances_{split}2017.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), key: []}))
    check_data(detection_config(broken_shapes, filter_cfg=dict(filter_empty_gt=False)), ['train'])
    cfg = detection_config(broken_shapes, 'val')
    expect_bad_data('has no annotations', check_data, cfg, ['val'])
    cfg.val_evaluator = dict(type='CocoMetric', format_only=True)
    check_data(cfg, ['val'])


def test_wrapped_datasets(broken_shapes):
    cfg = detection_config(broken_shapes)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2,
                                        dataset=dict(type='ConcatDataset', datasets=[inner, inner]))
    check_data(cfg, ['train'])
    path = broken_shapes / 'annotations' / 'instances_train2017.json'
    cut(path)
    expect_bad_data('not valid JSON', check_data, cfg, ['train'])


def test_lists_of_images(masks):
    cfg = segmentation_config(masks, 'train')
    (masks / 'names.txt').write_text('\n')
    expect_bad_data('names.txt names no images', check_data, cfg, ['train'])
    cfg.train_dataloader.dataset.ann_file = ''
    check_data(cfg, ['train'])
    shutil.rmtree(masks / 'JPEGImages')
    (masks / 'JPEGImages').mkdir()
    expect_bad_data('JPEGImages has no images', check_data, cfg, ['train'])


def test_config_of_an_earlier_run_is_not_wrapped_twice(small_shapes):
    cfg = detection_config(small_shapes)
    cfg.custom_hooks = [dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[dict(type='LoadAnnotations')])]
    skip_bad_samples(cfg)
    skip_bad_samples(cfg, strict=True)
    first, second = cfg.train_dataloader.dataset.pipeline
    assert first == dict(type='res2net_mm.SkipBadSample', transform=dict(type='LoadImageFromFile'), strict=True)
    assert second.transform == dict(type='LoadAnnotations', with_bbox=True)
    assert cfg.custom_hooks[0].switch_pipeline[0].transform == dict(type='LoadAnnotations')


@pytest.mark.parametrize('style', ['names', 'classes'])
def test_classes_of_a_users_own(style, config_styles, broken_shapes):
    cfg = load_config(config_styles[style])
    move_data_root(cfg, str(broken_shapes))
    check_data(cfg, ['train'])
    skip_bad_samples(cfg)
    image, boxes, resize = cfg.train_dataloader.dataset.pipeline[:3]
    assert image.type == boxes.type == 'res2net_mm.SkipBadSample' and resize.type != image.type
    path = broken_shapes / 'annotations' / 'instances_train2017.json'
    path.write_text(path.read_text().replace('"category_id": 1', '"category_id": 77'))
    expect_bad_data('annotations are bad:.*category_id 77 is none', check_data, cfg, ['train'])


def test_a_config_that_is_written_can_be_read(config_styles, small_shapes, tmp_path):
    """After the edits of a config in the new style its classes are text in the file, not imported ones."""
    cfg = load_config(config_styles['classes'])
    move_data_root(cfg, str(small_shapes))
    skip_bad_samples(cfg)
    cfg.dump(tmp_path / 'written.py')
    again = load_config(tmp_path / 'written.py')
    assert again.model.type == 'own_classes.OwnDetector'
    assert again.train_dataloader.dataset.pipeline[1].transform.type == 'own_classes.ReadBoxes'


@pytest.mark.parametrize('dataset', [
    dict(type='A', dataset=None), dict(type='A', datasets=[]), dict(type='A', dataset='coco'),
])
def test_a_wrapper_around_nothing(dataset):
    assert leaves(dataset) == [dataset]
    check_data(Config(dict(train_dataloader=dict(dataset=dataset))), ['train'])


@pytest.mark.parametrize('loader', [None, dict(batch_size=1), []])
def test_no_data_at_all(loader):
    cfg = Config(dict(train_dataloader=loader, custom_hooks=None))
    check_data(cfg, ['train', 'val', 'test'])
    skip_bad_samples(cfg)
    assert cfg.train_dataloader == loader
    check_data(Config(dict(model=None)), ['train', 'val', 'test'])


def test_several_loaders(broken_shapes):
    """Some toolboxes test on one set after another."""
    cfg = detection_config(broken_shapes, 'val')
    cfg.val_dataloader = [dict(dataset=None), cfg.val_dataloader]
    check_data(cfg, ['val'])
    cut(broken_shapes / 'annotations' / 'instances_val2017.json')
    expect_bad_data('not valid JSON', check_data, cfg, ['val'])
