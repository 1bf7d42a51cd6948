"""``tools/predict.py``: the command as a user runs it."""
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from helpers import DEMO, TOOLS, expect_failure, python_path, write_small_model
from mmengine.registry import MODELS, DefaultScope

from res2net_mm.cli.predict import main
from res2net_mm.cli.test import main as run_test
from res2net_mm.utils.config import load_config


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    pytest.importorskip('mmpretrain')
    return write_small_model(tmp_path_factory.mktemp('models'), 'classification')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'images').mkdir()
    for value in (10, 20, 30):
        cv2.imwrite(f'images/{value}.jpg', np.full((64, 80, 3), value, np.uint8))
    return tmp_path


def test_pictures_by_default_and_records_alone_with_json(classifier, folder, capsys):
    config, checkpoint = classifier
    command = [config, 'images', '--checkpoint', checkpoint, '--device', 'cpu', '--batch-size', '2']
    main(command)
    said = capsys.readouterr()
    assert '3 images; classification on cpu' in said.out and '3/3' in said.err and 'images/s' in said.err
    assert sorted(path.name for path in (folder / 'work_dirs/predict/classification').iterdir()) == [
        '10.jpg', '20.jpg', '30.jpg']
    main([*command, '--json', 'r.json', '--score', '0'])
    assert [record['image_id'] for record in json.loads((folder / 'r.json').read_text())] == [10, 20, 30]
    assert sorted(path.name for path in folder.iterdir()) == ['images', 'r.json', 'work_dirs']

    (folder / 'images/20.jpg').write_bytes(b'')
    expect_failure(capsys, main, [*command, '--json', 'r.json'],
                   r"(?s)1 of 3 inputs were bad and left out.*bad: image 'images/20.jpg' is empty")
    assert len(json.loads((folder / 'r.json').read_text())) == 2
    expect_failure(capsys, main, [*command[:1], 'images/20.jpg', *command[2:]], "error: image 'images/20.jpg' is empty")


@pytest.mark.parametrize('arguments, message', [
    (['--amp'], "amp='float16' is for GPUs"),
    (['--score', '7'], "'7' must be a number from 0 to 1"),
    (['--classes', 'uprigt'], "class 'uprigt' is none of classification; did you mean upright?"),
    (['--device', 'abacus'], '--device abacus: must be'),
    (['--show'], '--show: there is no display; draw into a folder with --out DIR'),
    (['--batch-size', '0'], 'batch size 0'),
    (['--accelerate', 'magic'], 'invalid choice'),
])
def test_arguments_that_cannot_be(arguments, message, classifier, folder, capsys, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    config, checkpoint = classifier
    expect_failure(capsys, main, [config, 'images', '--checkpoint', checkpoint, '--device', 'cpu', *arguments], message)
    assert not list(folder.glob('work_dirs/**/*.jpg'))


@pytest.mark.parametrize('model, inputs, message', [
    ('no_such_model', 'images', "model 'no_such_model': .*does not exist"),
    ('checkpoint.pth', 'images', 'name its config'),
    ('images/10.jpg', 'images', "config 'images/10.jpg': Only py"),
    (None, 'nothing', "input 'nothing' does not exist"),
])
def test_models_and_inputs_that_are_none(model, inputs, message, classifier, folder, capsys):
    config, checkpoint = classifier
    (folder / 'checkpoint.pth').touch()
    expect_failure(capsys, main, [model or config, inputs, '--checkpoint', checkpoint, '--device', 'cpu'], message)


@pytest.mark.slow
def test_a_killed_run_goes_on(classifier, folder):
    config, checkpoint = classifier
    for value in range(300):
        cv2.imwrite(f'images/{1000 + value}.jpg', np.full((64, 80, 3), value % 255, np.uint8))
    command = [sys.executable, str(TOOLS / 'predict.py'), config, 'images', '--checkpoint', checkpoint,
               '--device', 'cpu', '--out', 'out', '--json', 'r.json']
    env = {**os.environ, 'PYTHONPATH': python_path(TOOLS.parent)}
    run = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and len(list(folder.glob('out/*.jpg'))) < 20:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert 20 <= len(list(folder.glob('out/*.jpg'))) < 303 and not (folder / 'r.json').exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob('out/*.jpg')}
    done = subprocess.run([*command, '--resume'], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = [path for path, written in before.items() if path.stat().st_mtime_ns == written]
    assert len(kept) >= len(before) - 1 and 'were done before' in done.stdout
    images = sorted(record['image_id'] for record in json.loads((folder / 'r.json').read_text()))
    assert images == sorted([10, 20, 30, *range(1000, 1300)])
    assert all(cv2.imread(str(path)) is not None for path in folder.glob('out/*.jpg'))


@pytest.mark.slow
def test_the_same_results_as_the_test_of_the_config(small_shapes, tmp_path):
    pytest.importorskip('mmdet')
    from pycocotools.coco import COCO
    config = tmp_path / 'all_scores.py'
    config.write_text(f'_base_ = {DEMO!r}\nmodel = dict(test_cfg=dict(rcnn=dict(score_thr=0.)))\n')
    config, cfg = str(config), load_config(config)
    with DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
    checkpoint = str(tmp_path / 'random.pth')
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    run_test([config, checkpoint, '--data-root', str(small_shapes), '--work-dir', str(tmp_path / 'run'),
              '--device', 'cpu', '--out', str(tmp_path / 'test.pkl'), '--cfg-options', 'test_dataloader.num_workers=0',
              'test_dataloader.persistent_workers=False', 'test_dataloader.batch_size=1'])
    main([config, str(small_shapes / 'val2017'), '--checkpoint', checkpoint, '--device', 'cpu',
          '--json', str(tmp_path / 'predict.json')])
    found = COCO(str(small_shapes / 'annotations/instances_val2017.json')).loadRes(str(tmp_path / 'predict.json'))
    images = pickle.loads((tmp_path / 'test.pkl').read_bytes())
    assert len(images) == 3
    for image in images:
        wanted = image['pred_instances']
        ours = sorted(found.loadAnns(found.getAnnIds(imgIds=image['img_id'])), key=lambda record: -record['score'])
        order = np.argsort(-wanted['scores'].numpy(), kind='stable')
        assert len(ours) == len(order) > 0
        assert np.allclose([record['score'] for record in ours], wanted['scores'].numpy()[order], atol=1e-5)
        left, top, right, bottom = wanted['bboxes'].numpy()[order].T
        boxes = np.array([record['bbox'] for record in ours])
        assert np.allclose(boxes, np.stack([left, top, right - left, bottom - top], 1), atol=1e-2)
        assert [record['category_id'] - 1 for record in ours] == wanted['labels'].numpy()[order].tolist()
