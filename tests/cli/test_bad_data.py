"""Whole runs on bad data: it is skipped while training, and stops the run where the score depends on it."""
import json
import re

import pytest
import torch
from helpers import DEMO, FAST, arguments, cut, expect_failure, run_in_processes, write_pictures
from mmengine.config import DictAction
from mmengine.runner import Runner
from PIL import Image

from res2net_mm.cli.test import main as run_test
from res2net_mm.cli.train import main as run_train
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_edits import move_data_root

pytest.importorskip('mmdet')


def log(work_dir):
    return next(work_dir.glob('*/*.log')).read_text().splitlines()


@pytest.mark.slow
def test_training_goes_on(broken_shapes, tmp_path):
    """Two processes load data, and start anew for each of two epochs."""
    (broken_shapes / 'train2017' / '000001.png').unlink()
    cut(broken_shapes / 'train2017' / '000002.png')
    run_train([DEMO, *arguments(broken_shapes, tmp_path / 'run', 'train_cfg.max_iters=6', 'train_cfg.val_interval=6',
                                  'train_dataloader.num_workers=2', 'train_dataloader.sampler.type=DefaultSampler')])
    assert (tmp_path / 'run' / 'iter_6.pth').is_file()
    messages = [line for line in log(tmp_path / 'run') if 'skipped' in line]
    assert sorted(re.sub('.*train2017/', '', line)[:25] for line in messages) == [
        '000001.png does not exist', '000002.png is cut off or '], messages


@pytest.mark.slow
def test_training_stops(broken_shapes, tmp_path, capsys):
    options = arguments(broken_shapes, tmp_path)
    for path in (broken_shapes / 'train2017').iterdir():
        path.unlink()
    expect_failure(capsys, run_train, [DEMO, '--strict-data', *options, 'train_dataloader.num_workers=2'],
                   r'error: bad training sample: \S*/train2017/\S*png does not exist$')
    expect_failure(capsys, run_train, [DEMO, *options], r'error: too many bad training samples: [1-6] files')
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.slow
def test_bad_image_to_evaluate_on_stops_the_run_before_it_starts(broken_shapes, tmp_path, capsys):
    cut(broken_shapes / 'val2017' / '000002.png')
    expect_failure(capsys, run_train, [DEMO, *arguments(broken_shapes, tmp_path / 'run')],
                   '(?s)1 images.*000002.png is cut')
    assert not any('Iter(train)' in line for line in log(tmp_path / 'run'))


@pytest.mark.slow
def test_good_data_is_trained_on_as_by_the_runner_itself(small_shapes, tmp_path):
    """Bit by bit: SkipBadSample changes no sample and draws no random numbers."""
    run_train([DEMO, *arguments(small_shapes, tmp_path / 'ours')])
    cfg = load_config(DEMO)
    move_data_root(cfg, str(small_shapes))
    cfg.merge_from_dict({key: DictAction._parse_iterable(value)
                         for key, value in (option.split('=') for option in FAST)})
    cfg.work_dir = str(tmp_path / 'theirs')
    # With the hook by which a loader does not draw from the random numbers of training.
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='res2net_mm.ResumeExactly')]
    Runner.from_cfg(cfg).train()
    ours, theirs = (torch.load(tmp_path / name / 'iter_2.pth', weights_only=False)['state_dict']
                    for name in ('ours', 'theirs'))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
def test_bad_images_to_test_on(broken_shapes, tmp_path, capsys):
    """They stop the test before it starts, or count as wrong, as the user chose."""
    run_train([DEMO, *arguments(broken_shapes, tmp_path / 'run')])
    checkpoint = str(tmp_path / 'run' / 'iter_2.pth')
    options = arguments(broken_shapes, tmp_path / 'test')
    (broken_shapes / 'val2017' / '000001.png').write_text('<html>404</html>')
    Image.new('RGB', (4000, 1)).save(broken_shapes / 'val2017' / '000002.png')
    expect_failure(capsys, run_test, [DEMO, checkpoint, *options],
                   r'(?s)error: 2 images to evaluate on are bad:.*000001.png is not an image.*000002.png is 1 x 4000')
    assert not any('Iter(test)' in line for line in log(tmp_path / 'test'))
    run_test([DEMO, checkpoint, '--bad-images', 'count-as-wrong', *arguments(broken_shapes, tmp_path / 'counted'),
              'default_hooks.logger.interval=1'])
    text = '\n'.join(log(tmp_path / 'counted'))
    assert 'Iter(test) [3/3]' in text
    assert re.search(r'2 bad images count as wrong\S* .*:\n  \S*000001.png is not.*\n  \S*000002.png is 1 x', text)


CLASSIFIER_TEST = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[128] * 3, std=[128] * 3),
    backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=256))
test_dataloader = dict(
    batch_size=4, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root='{root}',
                 pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
test_evaluator = dict(type='Accuracy', topk=1)
test_cfg = dict()
"""


@pytest.mark.slow
def test_bad_image_of_a_classifier(tmp_path):
    """In another process that loads data: with a network that knows one class alone, a bad image of it is a miss."""
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    (tmp_path / 'pictures' / 'a' / '0.png').write_text('no image')
    config = tmp_path / 'classifier.py'
    config.write_text(CLASSIFIER_TEST.replace('{root}', str(tmp_path / 'pictures')))
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmpretrain')
    model = MODELS.build(load_config(str(config)).model)
    torch.nn.init.zeros_(model.head.fc.weight)
    model.head.fc.bias.data = torch.tensor([1., 0])  # always class a
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    run_test([str(config), str(tmp_path / 'model.pth'), '--bad-images', 'count-as-wrong', '--work-dir',
              str(tmp_path / 'run'), '--cfg-options', 'test_dataloader.batch_size=1'])
    scores = json.loads(next((tmp_path / 'run').glob('*/*.json')).read_text())
    assert scores['accuracy/top1'] == pytest.approx(100 * 7 / 16)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize('name, message', [
    ('val2017/000002.png', r'1 images to evaluate on are bad:\n  \S*000002.png is cut off'),
    ('annotations/instances_train2017.json', r'instances_train2017.json is not valid JSON'),
])
def test_processes_end_together(name, message, broken_shapes, tmp_path):
    """Each checks its share of the images, and one on a machine reads the annotations; what is wrong is said once."""
    cut(broken_shapes / name)
    result = run_in_processes(tmp_path, DEMO, 2, *arguments(broken_shapes, tmp_path / 'run'))
    assert result.returncode == 1
    assert len(re.findall(f'train.py: error: .*{message}', result.stderr)) == 1, result.stderr
