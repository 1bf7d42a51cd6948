"""What a config names: everything that is missing or empty is found before the run."""
import json
import shutil

import pytest
from helpers import cut, detection_config, expect_bad_data, segmentation_config

from res2net_mm.datasets.checks import check_data, skip_bad_samples

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
