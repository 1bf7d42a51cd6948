import json

import pytest
from helpers import detection_config, segmentation_config
from mmengine.registry import init_default_scope

from res2net_mm.analysis.dataset_samples import (
    ImageSample,
    build_dataset,
    build_loader,
    choose_samples,
    load_labels,
    loading_transforms,
)
from res2net_mm.analysis.dataset_summary import summarise_dataset
from res2net_mm.datasets.checks.configs import dataset_configs


def samples(*classes):
    return [ImageSample(None, (), f'{i}.jpg', [i], frozenset(labels)) for i, labels in enumerate(classes)]


def test_chosen_images_show_different_classes_and_one_without():
    images = samples(*[{0}] * 90, *[set()] * 9, {1}, {0, 2})
    chosen = choose_samples(images, 5)
    assert chosen == choose_samples(images, 5) and len({sample.name for sample in chosen}) == 5
    assert chosen[-1].classes == frozenset() and {1} in [sample.classes for sample in chosen[:-1]]
    assert {0, 2} in [sample.classes for sample in chosen[:-1]]


def test_all_images_are_chosen_if_there_are_few():
    images = samples({0}, set(), {1})
    assert sorted(sample.name for sample in choose_samples(images)) == ['0.jpg', '1.jpg', '2.jpg']
    assert choose_samples([]) == []


def test_entries_that_filters_drop_are_counted(broken_shapes):
    pytest.importorskip('mmdet')
    path = broken_shapes / 'annotations' / 'instances_train2017.json'
    content = json.loads(path.read_text())
    first = content['images'][0]['id']
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] != first]
    path.write_text(json.dumps(content))
    init_default_scope('mmdet')
    config, = dataset_configs(detection_config(broken_shapes, filter_cfg=dict(filter_empty_gt=True)), 'train')
    dataset, dropped = build_dataset(config)
    assert dropped == 1 and len(dataset) == 5 and 'filter_data' not in vars(dataset)


def test_a_loader_goes_around_datasets_that_are_built(masks):
    cfg = segmentation_config(masks, 'train')
    init_default_scope('mmseg')
    config, = dataset_configs(cfg, 'train')
    dataset, _ = build_dataset(config)
    repeated = dict(type='RepeatDataset', times=2, dataset=config)
    loader = build_loader(dict(batch_size=4, sampler=dict(type='DefaultSampler', shuffle=False), drop_last=True,
                               dataset=dict(type='ConcatDataset', datasets=[repeated, config])), [dataset, dataset])
    assert len(loader.dataset) == 9 and len(loader) == 2
    assert loader.dataset.datasets[0].dataset is dataset


def test_a_wrapper_may_do_the_loading(masks):
    """As mmpose's CombinedDataset."""
    cfg = segmentation_config(masks, 'train')
    init_default_scope('mmseg')
    config, = dataset_configs(cfg, 'train')
    full, _ = build_dataset(config)
    bare, _ = build_dataset(dict(config, pipeline=[]))

    class Wrapper:
        dataset, pipeline = bare, full.pipeline

    assert loading_transforms(bare) == [] and len(loading_transforms(bare, Wrapper)) == 2
    sample = summarise_dataset(bare, Wrapper).images[0]
    assert load_labels(sample).max() == 255
