"""tools/train.py and tools/test.py on a handful of shapes: train, resume, test, and every way of getting it wrong."""
import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from helpers import CLASSIFIER, DEMO, TOOLS, arguments, config_path, expect_failure, logged
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend
from mmengine.registry import HOOKS, METRICS

from res2net_mm.cli.test import draw_predictions
from res2net_mm.cli.test import main as run_test
from res2net_mm.cli.train import main as run_train
from res2net_mm.datasets.shapes import CLASSES, write_shapes
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_types import config_class
from res2net_mm.utils.errors import UserError

pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def trained(shapes, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('run')
    run_train([DEMO, *arguments(shapes, work_dir)])
    return work_dir


@pytest.mark.slow
def test_train_resume_test(shapes, trained, tmp_path, capsys):
    steps, evaluated = logged(trained)
    assert steps == [1, 2] and len(evaluated) == 1

    run_train([DEMO, '--resume', *arguments(shapes, trained, 'train_cfg.max_iters=4')])
    steps, evaluated = logged(trained)
    assert steps == [1, 2, 3, 4] and len(evaluated) == 3  # the checkpoint is from before a validation: it is run again
    first, again = ({name: value for name, value in row.items() if 'time' not in name} for row in evaluated[:2])
    assert first == again

    checkpoint = (trained / 'last_checkpoint').read_text()
    assert checkpoint.endswith('iter_4.pth')
    out = tmp_path / 'predictions.pkl'
    run_test([DEMO, checkpoint, '--out', str(out), '--show-dir', str(tmp_path / 'drawn'),
              *arguments(shapes, tmp_path / 'test')])
    report = next((tmp_path / 'test').glob('*/*.json'))
    assert json.loads(report.read_text())['coco/bbox_mAP'] == evaluated[-1]['coco/bbox_mAP']
    assert out.stat().st_size > 0
    assert len(list((tmp_path / 'drawn').rglob('*.png'))) == 3


@pytest.mark.slow
def test_a_public_detector_by_name(shapes, trained, tmp_path, monkeypatch, capsys):
    """``tools/test.py CONFIG res2net_mm://NAME`` and ``load_from`` take a whole model, and say what function it has."""
    checkpoint = Path((trained / 'last_checkpoint').read_text())
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    shutil.copy(checkpoint, tmp_path / 'faster_rcnn_r2n101_v1b_coco.pth')
    source = 'res2net_mm://faster_rcnn_r2n101_v1b_coco'
    results, warning = [], f"{source}: these weights were trained as stage_pool='strided', and this Res2Net-26 "
    for name, given in (('file', str(checkpoint)), ('name', source)):
        run_test([DEMO, given, *arguments(shapes, tmp_path / name, f'experiment_name={name}')])
        results.append(json.loads(next((tmp_path / name).glob('*/*.json')).read_text())['coco/bbox_mAP'])
        assert capsys.readouterr().out.count(warning) == (name == 'name')
    assert results[0] == results[1]

    run_train([DEMO, *arguments(shapes, tmp_path / 'on', f'load_from={source}', 'train_cfg.max_iters=1',
                                'experiment_name=on', 'optim_wrapper.optimizer.lr=0')])
    assert capsys.readouterr().out.count(warning) == 1
    trained_on, before = (torch.load(path, weights_only=False)['state_dict']
                          for path in (tmp_path / 'on' / 'iter_1.pth', checkpoint))
    assert torch.equal(trained_on['backbone.layer1.0.conv1.weight'], before['backbone.layer1.0.conv1.weight'])


@pytest.mark.slow
def test_accelerated(shapes, trained, tmp_path, monkeypatch):
    """tools/test.py --accelerate reports the same metrics; its file takes its name when it is complete."""
    monkeypatch.setattr(LocalBackend, 'put_text', lambda backend, text, path: pytest.fail(f'{path} written in place'))
    checkpoint = (trained / 'last_checkpoint').read_text()
    results = []
    for name, flags in (('plain', []), ('fast', ['--accelerate'])):
        run_test([DEMO, checkpoint, *flags, *arguments(shapes, tmp_path / name, f'experiment_name={name}')])
        results.append(json.loads(next((tmp_path / name).glob('*/*.json')).read_text()))
    plain, fast = results
    assert {key: value for key, value in fast.items() if 'coco' in key} == pytest.approx(
        {key: value for key, value in plain.items() if 'coco' in key}, abs=1e-3)
    assert 'coco/bbox_mAP' in plain


@pytest.mark.slow
def test_as_commands_from_another_folder(shapes, tmp_path):
    """The script itself, on a user's config that inherits ours, wherever it is started."""
    mine = tmp_path / 'mine.py'
    mine.write_text("_base_ = 'res2net_mm::demo_faster_rcnn_r2n26_shapes.py'\nrandomness = dict(seed=7)\n")
    result = subprocess.run(
        [sys.executable, TOOLS / 'train.py', 'mine.py', '--device', 'cpu', *arguments(shapes, 'out')],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert (tmp_path / 'out' / 'iter_2.pth').is_file()


@pytest.mark.slow
def test_the_same_losses_as_mmdets_own_script(shapes, tmp_path):
    """faster_rcnn_r2n50_coco.py gives the same numbers whoever runs it, with the hook that numbers its batches."""
    from importlib.util import find_spec
    theirs = Path(find_spec('mmdet').origin).parent / '.mim' / 'tools' / 'train.py'
    data = [f'{split}_dataloader.dataset.{key}' for split in ('train', 'val') for key in (
        f'data_root={shapes}/', f'metainfo.classes={",".join(CLASSES)}', f'indices={2 if split == "train" else 1}')]
    losses = []
    for script in (TOOLS / 'train.py', theirs):
        work_dir = tmp_path / script.parents[1].name
        result = subprocess.run([
            sys.executable, script, config_path('faster_rcnn_r2n50_coco.py'), '--work-dir', work_dir,
            '--cfg-options', *data, f'val_evaluator.ann_file={shapes}/annotations/instances_val2017.json',
            'train_dataloader.dataset.pipeline.2.scale=(64,64)', 'val_dataloader.dataset.pipeline.1.scale=(64,64)',
            'train_dataloader.batch_size=1', 'model.backbone.init_cfg=None', 'randomness.seed=3',
            'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1', 'custom_hooks.0.type=res2net_mm.ResumeExactly',
            'model.roi_head.bbox_head.num_classes=4'
        ], env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''}, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        rows = [json.loads(line) for path in work_dir.glob('*/vis_data/scalars.json')
                for line in path.read_text().splitlines()]
        losses.append([{key: value for key, value in row.items() if 'loss' in key} for row in rows if 'loss' in row])
    assert len(losses[0]) == 2 and losses[0] == losses[1]


@METRICS.register_module()
class SumOfScores(BaseMetric):
    """A number that every weight changes; after a few iterations the AP is not."""

    default_prefix = 'detections'

    def process(self, data_batch, data_samples):
        self.results += [sample['pred_instances']['scores'].sum().item() for sample in data_samples]

    def compute_metrics(self, results):
        return dict(scores=sum(results))


AVERAGED = """
_base_ = {base!r}
model = dict(test_cfg=dict(rcnn=dict(score_thr=0.)))
custom_hooks = [dict(type={hook!r}, momentum=0.5)]
optim_wrapper = dict(optimizer=dict(lr=0.01))
param_scheduler = []
val_evaluator = dict(_delete_=True, type='SumOfScores')
test_evaluator = val_evaluator
"""


@pytest.mark.slow
@pytest.mark.parametrize('hook', ['EMAHook', 'mmpretrain.EMAHook'])
def test_averaged_weights(hook, shapes, tmp_path, capsys):
    """What is tested are the averaged weights, plain and accelerated, as in the last validation of the training."""
    pytest.importorskip(hook.partition('.')[0] if '.' in hook else 'mmengine')
    config = tmp_path / 'averaged.py'
    config.write_text(AVERAGED.format(base=DEMO, hook=hook))
    run_train([str(config), *arguments(shapes, tmp_path / 'run')])
    scalars = next((tmp_path / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    validated, = (row['detections/scores'] for row in map(json.loads, scalars) if 'detections/scores' in row)

    checkpoint = torch.load(tmp_path / 'run' / 'iter_2.pth', weights_only=False)
    averaged = checkpoint['state_dict']
    student = {key[len('module.'):]: value for key, value in checkpoint['ema_state_dict'].items() if 'module.' in key}
    files = dict(saved=checkpoint, weights=averaged, whole=dict(state_dict=averaged), student=student)
    files['part'] = dict(state_dict={key: averaged[key] for key in averaged if 'fc_cls' not in key})
    for name, content in files.items():
        torch.save(content, tmp_path / f'{name}.pth')

    def tested(name, *flags):
        folder = tmp_path / ''.join([name, *flags])
        run_test([str(config), str(tmp_path / f'{name}.pth'), *flags,
                  *arguments(shapes, folder, f'experiment_name={folder.name}')])
        return json.loads(next(folder.glob('*/*.json')).read_text())['detections/scores']

    assert tested('saved') == tested('whole') == tested('weights') == pytest.approx(validated, rel=1e-6)
    assert tested('saved', '--accelerate') == pytest.approx(validated, rel=1e-3)
    assert abs(tested('student') / validated - 1) > 0.01
    expect_failure(capsys, run_test, [str(config), str(tmp_path / 'part.pth'), *arguments(shapes, tmp_path / 'part')],
                   '(?s)part.pth.*averaged.py: .*fc_cls')


@pytest.mark.slow
def test_compiled_and_accelerated(masks, tmp_path):
    """A config that has its training step compiled is trained with --accelerate, too, and as without either."""
    pytest.importorskip('mmpretrain')
    for name in 'abc':
        (tmp_path / 'pictures' / name).mkdir(parents=True)
        (masks / 'JPEGImages' / f'{name}.jpg').rename(tmp_path / 'pictures' / name / 'image.jpg')
    config = tmp_path / 'classifier.py'
    config.write_text(CLASSIFIER.partition('custom_imports')[0].replace("'pictures'", repr(f'{tmp_path}/pictures')))
    losses = []
    for name, flags, options in (('plain', [], []), ('fast', ['--accelerate'], ['compile.backend=eager'])):
        run_train([str(config), *flags, '--work-dir', str(tmp_path / name), '--cfg-options',
                   'model.backbone.norm_eval=False', 'model.head.num_classes=3', 'train_cfg.max_iters=2',
                   f'experiment_name={name}', *options])
        rows = map(json.loads, next((tmp_path / name).glob('*/vis_data/scalars.json')).read_text().splitlines())
        losses.append([row['loss'] for row in rows])
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('style', ['names', 'classes'])
def test_styles_of_configs(style, config_styles, shapes, tmp_path):
    """Classes of a user's own, by name and as classes: trained in bfloat16, tested and drawn as the toolbox's are."""
    run_train([str(config_styles[style]), '--amp', 'bfloat16', *arguments(shapes, tmp_path / 'run')])
    steps, evaluated = logged(tmp_path / 'run')
    assert steps == [1, 2] and len(evaluated) == 1

    written, = (tmp_path / 'run').glob('*.py')  # with full paths of classes
    cfg = load_config(written)
    assert 'res2net_mm.BFloat16Features' in [hook.type for hook in cfg.custom_hooks]
    loading = [step.type for step in cfg.train_dataloader.dataset.pipeline[:3]]
    assert loading[:2] == 2 * ['res2net_mm.SkipBadSample'] and loading[2] != loading[0]
    for name, config in (('given', config_styles[style]), ('written', written)):
        run_test([str(config), str(tmp_path / 'run' / 'iter_2.pth'), '--show-dir', str(tmp_path / f'drawn_{name}'),
                  *arguments(shapes, tmp_path / name, f'experiment_name={name}')])
        metrics = json.loads(next((tmp_path / name).glob('*/*.json')).read_text())
        assert metrics['coco/bbox_mAP'] == evaluated[-1]['coco/bbox_mAP']
        assert len(list((tmp_path / f'drawn_{name}').rglob('*.png'))) == 3


@pytest.mark.parametrize('name, hook, switches', [
    ('demo_faster_rcnn_r2n26_shapes.py', None, ('draw', 'test_out_dir')),
    ('demo_faster_rcnn_r2n26_shapes.py', 'mmdet.GroundingVisualizationHook', ('draw', 'test_out_dir')),
    ('demo_faster_rcnn_r2n26_shapes.py', 'mmdet.engine.hooks.TrackVisualizationHook', ('draw', 'test_out_dir')),
    ('deeplabv3plus_r2n50_voc12aug.py', None, ('draw', None)),
    ('simplebaseline_r2n50_coco.py', None, ('enable', 'out_dir')),
    ('imagenet_r2n50_v1b.py', None, ('enable', 'out_dir')),
])
def test_drawing(name, hook, switches):
    """Every toolbox's hook, by its class or its name."""
    cfg = load_config(config_path(name))
    pytest.importorskip(cfg.default_scope)
    named = hook or cfg.default_hooks.visualization.type
    kind = config_class(dict(type=named), HOOKS, cfg.default_scope)
    for style, scope in ((named, cfg.default_scope), (kind, None)):
        cfg.default_hooks.visualization = dict(type=style)
        cfg.default_scope = scope
        draw_predictions(cfg, Namespace(config=name, show=False, show_dir='drawn', wait_time=1))
        draw, out_dir = switches
        found = cfg.default_hooks.visualization
        assert found[draw] is True and found.show is False and 'wait_time' not in found
        assert (found[out_dir] if out_dir else cfg.visualizer.save_dir) == os.path.abspath('drawn')
        assert out_dir or not {'out_dir', 'test_out_dir'} & found.keys()


@pytest.mark.parametrize('cfg, message', [
    (dict(), 'a.py has no default_hooks.visualization'),
    (dict(default_hooks=None), 'a.py has no default_hooks.visualization'),
    (dict(default_hooks=dict(visualization=dict(type='IterTimerHook'))), 'IterTimerHook.* neither draw nor enable'),
    (dict(default_hooks=dict(visualization=dict(type='mmseg.SegVisualizationHook'))), 'a.py has no visualizer'),
])
def test_nothing_to_draw_with(cfg, message):
    if 'mmseg' in str(cfg):
        pytest.importorskip('mmseg')
    with pytest.raises(UserError, match=message):
        draw_predictions(Config(cfg), Namespace(config='a.py', show=True, show_dir='drawn', wait_time=1))


def test_configs_for_something_else(tmp_path, capsys):
    """A config that can be tested only, one that can be trained only, and one without anything."""
    for name, text in (('test', 'model = test_dataloader = test_evaluator = dict(a=1)\ntest_cfg = dict()'),
                       ('train', 'model = train_dataloader = train_cfg = optim_wrapper = dict(a=1)'), ('no', '')):
        (tmp_path / f'{name}.py').write_text(text)
    expect_failure(capsys, run_train, [f'{tmp_path}/test.py'],
                   'test.py has no train_dataloader, train_cfg, optim_wrapper$')
    expect_failure(capsys, run_test, [f'{tmp_path}/train.py', 'a.pth'],
                   'train.py has no test_dataloader, test_cfg, test_evaluator$')
    expect_failure(capsys, run_train, [f'{tmp_path}/no.py', '--data-root', '/data'], '--data-root: .* no data_root')
    expect_failure(capsys, run_train, [f'{tmp_path}/no.py', '--accelerate', '--auto-scale-lr', '--amp'],
                   'no.py has no model, train_dataloader, train_cfg, optim_wrapper$')


def test_wrong_config(shapes, tmp_path, capsys):
    expect_failure(capsys, run_train, ['configs/nosuch.py'], "config 'configs/nosuch.py' does not exist")
    expect_failure(capsys, run_train, ['configs/faster_rcnn_r2n5_coco.py'], 'did you mean faster_rcnn_r2n50_coco.py')


def test_wrong_data(shapes, tmp_path, capsys):
    work_dir = tmp_path / 'run'
    expect_failure(capsys, run_train, [DEMO, '--data-root', '/no/such/folder', '--work-dir', str(work_dir)],
                   r'(?s)/no/such/folder.*--data-root|--data-root.*/no/such/folder')
    expect_failure(capsys, run_train, [
        DEMO, *arguments(shapes, work_dir, 'train_dataloader.dataset.ann_file=annotations/typo.json')
    ], 'train_dataloader: .*typo.json')
    assert not work_dir.exists()


@pytest.mark.slow
@pytest.mark.parametrize('size', [0, 1000])
def test_truncated_checkpoint(size, shapes, trained, tmp_path, capsys):
    whole = next(trained.glob('iter_2.pth')).read_bytes()
    path = tmp_path / 'truncated.pth'
    path.write_bytes(whole[:size and len(whole) // 2])
    for run, argv in ((run_test, [DEMO, str(path)]), (run_train, [DEMO, '--resume', str(path)])):
        expect_failure(capsys, run, [*argv, *arguments(shapes, tmp_path)], 'truncated.pth.* is (empty|truncated or)')


def test_missing_checkpoint(shapes, tmp_path, capsys):
    expect_failure(capsys, run_test, [DEMO, 'nosuch.pth', *arguments(shapes, tmp_path)],
                   "'nosuch.pth' does not exist")
    expect_failure(capsys, run_train, [DEMO, '--resume', 'nosuch.pth', *arguments(shapes, tmp_path)],
                   "'nosuch.pth' does not exist")


@pytest.mark.slow
def test_checkpoint_of_another_architecture(shapes, trained, tmp_path, capsys):
    checkpoint = str(trained / 'iter_2.pth')
    for option, message in (('model.backbone.scales=6', 'does not fit Res2Net-26 26w6s'),
                            ('model.roi_head.bbox_head.reg_class_agnostic=True', 'fc_reg')):
        expect_failure(capsys, run_test, [DEMO, checkpoint, *arguments(shapes, tmp_path, option)],
                       f'(?s)iter_2.pth.*{message}')


def test_wrong_arguments(shapes, tmp_path, capsys):
    expect_failure(capsys, run_train, [DEMO, '--device', 'gpu'], 'must be cpu, cuda or cuda:INDEX')
    expect_failure(capsys, run_train, [DEMO, '--device', 'cuda'], 'no such CUDA device')
    expect_failure(capsys, run_train, [DEMO, '--amp', *arguments(shapes, tmp_path)], 'on the CPU only detectors')
    expect_failure(capsys, run_test, [DEMO, 'x.pth', '--out', 'x.json'], 'must end with .pkl')
    expect_failure(capsys, run_train, [DEMO, '--no-such-option'], 'unrecognized arguments')


@pytest.mark.slow
@pytest.mark.skipif('RES2NET_MM_COCO' not in os.environ, reason='RES2NET_MM_COCO names no folder of real images')
def test_real_images(tmp_path):
    """The main config itself, on real images at a size for a CPU."""
    pipeline = 'pipeline.2.scale=(200,160)'
    # In a process of its own: mmengine keeps the visualizer of an earlier run, and its folder.
    result = subprocess.run([
        sys.executable, TOOLS / 'train.py', config_path('faster_rcnn_r2n50_coco.py'), '--data-root',
        os.environ['RES2NET_MM_COCO'], '--work-dir',
        str(tmp_path), '--cfg-options', 'model.backbone.init_cfg=None', 'model.backbone.frozen_stages=-1',
        'model.backbone.norm_eval=False', 'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=8',
        'val_dataloader.dataset.indices=2', f'train_dataloader.dataset.{pipeline}', 'default_hooks.logger.interval=1',
        'val_dataloader.dataset.pipeline.1.scale=(200,160)', 'model.test_cfg.rcnn.score_thr=0'
    ], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    steps, evaluated = logged(tmp_path)
    assert steps == [1, 2, 3, 4] and len(evaluated) == 1 and (tmp_path / 'epoch_1.pth').is_file()
    assert all(torch.isfinite(v).all() for v in torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
               ['state_dict'].values())


def test_shapes_are_what_their_annotations_say(shapes):
    import cv2
    from pycocotools import mask
    data = json.loads((shapes / 'annotations' / 'instances_train2017.json').read_text())
    assert len(data['images']) == 6
    assert tuple(category['name'] for category in data['categories']) == CLASSES
    for ann in data['annotations']:
        x, y, w, h = ann['bbox']
        assert min(x, y) >= 0 and max(x + w, y + h) <= 256 and min(w, h) >= 8
        area = int(mask.area(mask.merge(mask.frPyObjects(ann['segmentation'], 256, 256))))
        assert abs(area - ann['area']) < 0.2 * ann['area'] + 30
        image = cv2.imread(str(shapes / 'train2017' / f'{ann["image_id"]:06d}.png'))
        assert image.shape == (256, 256, 3)


def test_shapes_follow_the_seed(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        write_shapes(tmp_path / name, train=1, val=1, seed=seed)
    first, again, other = ((tmp_path / name / 'train2017' / '000001.png').read_bytes() for name in 'abc')
    assert first == again
    assert first not in (other, (tmp_path / 'a' / 'val2017' / '000001.png').read_bytes())
    with pytest.raises(ValueError, match='image_size=100'):
        write_shapes(tmp_path, image_size=100)
