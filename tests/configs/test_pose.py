"""Keypoints: the recipe, its augmentation, boxes by --setting, and what reaches the metric."""
import ast
import json

import numpy as np
import pytest
import torch
from helpers import CONFIGS, EXPERIMENTS, config_path
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config
from res2net_mm.cli.arguments import common_arguments, read_config
from res2net_mm.cli.test import main as run_test
from res2net_mm.cli.train import main as run_train
from res2net_mm.models.names import resolve
from res2net_mm.models.pretrained import SCHEME

pytest.importorskip('mmpose')
LEAVES = [path for path in EXPERIMENTS if path.name.startswith('simplebaseline_')]
OVERFIT = config_path('simplebaseline_r2n50.py')


def shrink_pose(cfg, width=32, height=64):
    """Give a top-down config a small input (multiples of 32), and heatmaps of a quarter of it, in place."""

    def walk(value):
        if isinstance(value, dict):
            if 'input_size' in value:
                value['input_size'] = (width, height)
            if 'heatmap_size' in value:
                value['heatmap_size'] = (width // 4, height // 4)
        if isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item)

    walk(cfg._cfg_dict)
    return cfg


def packed_pose_batch(cfg, persons=2, split='train'):
    """Noise with random keypoints, packed and collated as the config's own pipeline of that split does it."""
    from mmpose.datasets import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    init_default_scope(cfg.default_scope)
    pipeline = Compose(cfg[f'{split}_dataloader'].dataset.pipeline)
    rng = np.random.default_rng(0)
    return pseudo_collate([
        pipeline(dict(
            img=rng.integers(0, 255, (120, 160, 3), dtype=np.uint8),
            bbox=np.array([[40, 20, 100, 110]], np.float32),
            bbox_score=np.ones(1, np.float32),
            keypoints=rng.uniform((45, 25), (95, 105), (1, 17, 2)).astype(np.float32),
            keypoints_visible=np.ones((1, 17), np.float32),
            **parse_pose_metainfo(CocoDataset.METAINFO))) for _ in range(persons)])


def plain(settings):
    """Without the mark of the package that a base came from."""
    return {key: value for key, value in settings.items() if key != '_scope_'}


@pytest.mark.parametrize('path', [config_path('simplebaseline_r2n50_coco.py'), OVERFIT], ids=lambda path: path.stem)
def test_trains_and_predicts(path):
    cfg = shrink_pose(load_config(path))
    assert cfg.train_dataloader.batch_size and f'configs/{path.relative_to(CONFIGS)}' in ast.get_docstring(
        ast.parse(path.read_text()))
    batch = packed_pose_batch(cfg)
    assert batch['inputs'][0].shape == (3, 64, 32)
    model = MODELS.build(cfg.model).train()
    loss, logged = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode='loss'))
    loss.backward()
    assert torch.isfinite(loss) and loss == logged['loss_kpt']
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        batch = model.eval().data_preprocessor(packed_pose_batch(cfg, split='val'), training=False)
        found = model(**batch, mode='predict')
    assert [sample.pred_instances.keypoints.shape for sample in found] == [(1, 17, 2)] * 2


def test_the_recipe_is_the_official_one():
    cfg = load_config(config_path('simplebaseline_r50_coco.py'))
    assert plain(cfg.optim_wrapper.optimizer) == dict(type='Adam', lr=1e-3)
    assert cfg.train_dataloader.batch_size * 4 == cfg.auto_scale_lr.base_batch_size == 128
    assert cfg.train_cfg.max_epochs == 140
    assert [(s.type, s.milestones, s.gamma) for s in cfg.param_scheduler] == [('MultiStepLR', [90, 120], 0.1)]
    types = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert 'RandomHalfBody' not in types and types.count('res2net_mm.ClippedBBoxTransform') == 1
    assert types.count('RandomFlip') == 1 and 'RandomBBoxTransform' not in types
    law = cfg.train_dataloader.dataset.pipeline[types.index('res2net_mm.ClippedBBoxTransform')]
    assert (law.scale_std, law.rotate_std, law.rotate_prob) == (0.3, 40, 0.6)
    assert cfg.model.test_cfg.flip_test and cfg.model.test_cfg.shift_heatmap
    assert cfg.model.data_preprocessor.bgr_to_rgb
    assert plain(cfg.model.head.loss) == dict(type='KeypointMSELoss', use_target_weight=True, loss_weight=0.5)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_sizes_agree_everywhere(path):
    """Pipelines, targets and decoder; the weights of each backbone are public."""
    cfg = load_config(path)
    size, heatmap, sigma = ((288, 384), (72, 96), 3) if '384x288' in path.name else ((192, 256), (48, 64), 2)
    codec = dict(type='MSRAHeatmap', input_size=size, heatmap_size=heatmap, sigma=sigma)
    steps = [step for split in ('train', 'val', 'test') for step in cfg[f'{split}_dataloader'].dataset.pipeline]
    assert [step.input_size for step in steps if step.type == 'TopdownAffine'] == [size] * 3
    assert [step.encoder for step in steps if step.type == 'GenerateTarget'] == [codec]
    assert plain(cfg.model.head.decoder) == codec
    checkpoint = cfg.model.backbone.init_cfg.checkpoint
    if checkpoint.startswith(SCHEME):
        preset = resolve(checkpoint[len(SCHEME):]).name
        assert ('101' in path.name) == ('101' in preset) and ('v1b' in path.name) == ('v1b' in preset)


@pytest.mark.parametrize('ours, twin', [
    ('r2n50', 'r50'), ('r2n101', 'r101'), ('r2n50_v1b', 'r50_v1d'), ('r2n50_384x288', 'r50_384x288'),
    ('r2n101_384x288', 'r101_384x288')])
def test_twins_differ_in_the_backbone_alone(ours, twin):
    ours, twin = (load_config(config_path(f'simplebaseline_{name}_coco.py')).to_dict() for name in (ours, twin))
    backbones = [cfg['model'].pop('backbone') for cfg in (ours, twin)]
    ours.pop('checkpoint', None)  # a variable of the file
    assert ours == twin
    for backbone in backbones:
        backbone.pop('arch', None), backbone.pop('type'), backbone['init_cfg'].pop('checkpoint')
    assert backbones[0] == backbones[1]


def test_weights_of_the_v1d_twin_arrive(monkeypatch):
    """mmengine takes 'backbone.' off the keys of mmcls:// weights itself; a prefix would find nothing."""
    cfg = load_config(config_path('simplebaseline_r50_v1d_coco.py'))
    init_default_scope('mmpose')
    model = MODELS.build(cfg.model.backbone)
    source = {key: torch.full_like(value, 0.5) for key, value in model.state_dict().items()}
    published = {f'backbone.{key}': value for key, value in source.items()}
    monkeypatch.setattr('mmengine.runner.checkpoint.load_from_http', lambda *args, **kwargs: {'state_dict': published})
    model.init_weights()
    assert all(torch.equal(value, source[key]) for key, value in model.state_dict().items())


# A COCO folder of four persons on two images of noise, and another one's detections of them.
@pytest.fixture(scope='module')
def persons(tmp_path_factory):
    import cv2
    root = tmp_path_factory.mktemp('persons')
    rng = np.random.default_rng(0)
    images = [dict(id=i, file_name=f'{i}.png', width=160, height=120) for i in (1, 2)]
    annotations = []
    for index in range(4):
        box = [10 + 70 * (index % 2), 10, 60, 100]
        points = rng.uniform(box[:2], (box[0] + 60, 110), (17, 2)).round(1)
        annotations.append(dict(
            id=index + 1, image_id=1 + index // 2, category_id=1, iscrowd=0, bbox=box, area=3000., num_keypoints=17,
            keypoints=[float(x) for point in points for x in (*point, 2)]))
    data = dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])
    detections = [dict(image_id=a['image_id'], category_id=1, bbox=a['bbox'], score=0.9) for a in annotations]
    (root / 'annotations').mkdir()
    for split in ('train', 'val'):
        (root / 'annotations' / f'person_keypoints_{split}2017.json').write_text(json.dumps(data))
        (root / f'{split}2017').mkdir()
        for image in images:
            pixels = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
            cv2.imwrite(str(root / f'{split}2017' / image['file_name']), pixels)
    (root / 'person_detection_results').mkdir()
    (root / 'person_detection_results' / 'COCO_val2017_detections_AP_H_56_person.json').write_text(
        json.dumps(detections))
    return root


@pytest.fixture(scope='module')
def trained(persons, tmp_path_factory):
    """A tiny model of the recipe, trained for an iteration: its config and its checkpoint."""
    folder = tmp_path_factory.mktemp('run')
    cfg = shrink_pose(load_config(config_path('simplebaseline_r2n50_coco.py')))
    cfg.model.backbone.update(depth=26, base_channels=8, init_cfg=None)
    cfg.model.head.update(in_channels=256, deconv_out_channels=(8, 8, 8))
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].update(batch_size=4, num_workers=0, persistent_workers=False)
    config = folder / 'tiny.py'
    cfg.dump(config)
    run_train([str(config), '--data-root', str(persons), '--work-dir', str(folder)])
    return str(config), str(next(folder.glob('best_gt_boxes_AP_epoch_1.pth')))


def reported(work_dir):
    return json.loads(next(work_dir.glob('*/*.json')).read_text())


@pytest.mark.slow
@pytest.mark.parametrize('setting, boxes', [(None, 'gt_boxes'), ('gt_boxes', 'gt_boxes'),
                                            ('detected_boxes', 'detected_boxes')])
def test_results_say_whose_boxes(setting, boxes, persons, trained, tmp_path):
    options = ['--setting', setting] if setting else []
    run_test([*trained, *options, '--data-root', str(persons), '--work-dir', str(tmp_path)])
    report = reported(tmp_path)
    assert f'{boxes}/AP' in report and {key.partition('/')[0] for key in report if '/' in key} == {boxes}


def read(config, setting, *options):
    return read_config(common_arguments('').parse_args([str(config), *options]), setting)


def test_setting_follows_the_data_root_and_precedes_options():
    config = config_path('simplebaseline_r2n50_coco.py')
    cfg = read(config, 'detected_boxes', '--data-root', '/elsewhere')
    assert cfg.test_dataloader.dataset.bbox_file == (
        '/elsewhere/person_detection_results/COCO_val2017_detections_AP_H_56_person.json')
    assert cfg.test_evaluator.ann_file == '/elsewhere/annotations/person_keypoints_val2017.json'
    assert cfg.test_evaluator.prefix == 'detected_boxes'
    assert cfg.val_dataloader.dataset.bbox_file is None and cfg.val_evaluator.prefix == 'gt_boxes'
    cfg = read(config, 'detected_boxes', '--cfg-options', 'test_dataloader.dataset.bbox_file=mine.json')
    assert cfg.test_dataloader.dataset.bbox_file == 'mine.json'
    assert read(config, None).test_dataloader.dataset.bbox_file is None


@pytest.mark.parametrize('config, message', [
    ('simplebaseline_r50_coco.py', '--setting boxes: .*simplebaseline_r50_coco.py has only gt_boxes, detected_boxes'),
    ('faster_rcnn_r50_coco.py', '--setting boxes: .*faster_rcnn_r50_coco.py has no test_settings')])
def test_unknown_setting(config, message):
    pytest.importorskip('mmdet')
    with pytest.raises(SystemExit, match=message):
        run_test([str(config_path(config)), 'nosuch.pth', '--setting', 'boxes'])


@pytest.mark.slow
def test_missing_detections_are_named(persons, trained, tmp_path):
    with pytest.raises(SystemExit, match='test_dataloader: nosuch.json'):
        run_test([*trained, '--setting', 'detected_boxes', '--data-root', str(persons), '--work-dir', str(tmp_path),
                  '--cfg-options', 'test_dataloader.dataset.bbox_file=nosuch.json'])


@pytest.mark.parametrize('test_mode, expected', [(False, 1.0), (True, None)])
def test_overfit_is_measured_on_the_chosen_persons_alone(test_mode, expected, persons):
    """Perfect answers for two of four persons: 1.0, as the config has it, and less if the metric saw the whole file."""
    from mmengine.logging import MessageHub
    from mmpose.registry import DATASETS, METRICS
    MessageHub.get_current_instance().runtime_info.pop('coco_ann_file', None)
    cfg = load_config(OVERFIT)
    assert cfg.val_dataloader.dataset.test_mode is False
    assert cfg.val_dataloader.dataset.indices == cfg.train_dataloader.dataset.indices
    assert cfg.test_dataloader == cfg.val_dataloader and cfg.test_evaluator == cfg.val_evaluator
    for key in ('ann_file', 'data_prefix'):
        assert cfg.val_dataloader.dataset[key] == cfg.train_dataloader.dataset[key]
    init_default_scope('mmpose')
    dataset = DATASETS.build(dict(cfg.val_dataloader.dataset, data_root=str(persons), indices=[0, 3],
                                  test_mode=test_mode))
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    for i in range(2):
        sample = dataset[i]['data_samples']
        sample.pred_instances = sample.gt_instances.clone()
        sample.pred_instances.set_field(np.ones((1, 17), np.float32), 'keypoint_scores')
        metric.process({}, [sample.to_dict()])
    measured = metric.evaluate(2)['gt_boxes/AP']
    assert measured == pytest.approx(expected) if expected else measured < 0.9
    MessageHub.get_current_instance().runtime_info.pop('coco_ann_file', None)
