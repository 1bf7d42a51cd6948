"""--tracker: where a training's losses go, beside what the config says, and what it says of a missing package."""
import inspect
import sys
from argparse import ArgumentParser
from importlib.util import find_spec

import mmengine.visualization.vis_backend as mmengines
import pytest
from helpers import CLASSIFIER, DEMO, config_path, expect_failure, train_in_processes, write_pictures
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend

from res2net_mm.cli import trackers
from res2net_mm.cli.trackers import TRACKERS, add_trackers, tracker_argument
from res2net_mm.cli.train import main as run_train
from res2net_mm.utils.config import load_config

needs_tensorboard = pytest.mark.skipif(find_spec('tensorboard') is None, reason='tensorboard is not installed')
CONFIG = CLASSIFIER.partition('custom_imports')[0]


def kinds(cfg):
    return [backend['type'] for backend in cfg.visualizer.vis_backends]


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(trackers, 'import_failure', lambda name: None)


def test_every_tracker_of_mmengine_is_there():
    classes = {name: kind for name, kind in vars(mmengines).items() if inspect.isclass(kind)
               and issubclass(kind, mmengines.BaseVisBackend)}
    assert set(classes) - {'BaseVisBackend', 'LocalVisBackend'} == {row.backend for row in TRACKERS.values()}
    for row in TRACKERS.values():
        source = inspect.getsource(classes[row.backend])
        assert all(f'import {module}' in source or f'from {module}' in source or module == 'tensorboard'
                   for module in row.modules)


@pytest.mark.parametrize('name, visualizer', [
    (DEMO, 'DetLocalVisualizer'), ('deeplabv3plus_r2n50_voc12aug.py', 'SegLocalVisualizer'),
    ('digits_r2n26.py', 'UniversalVisualizer'),
    pytest.param('simplebaseline_r2n50_coco.py', 'PoseLocalVisualizer', marks=pytest.mark.slow)])
def test_joins_the_visualizer_of_a_toolbox(name, visualizer, installed):
    cfg = load_config(name if name == DEMO else config_path(name))
    add_trackers(cfg, ['tensorboard', 'wandb', 'tensorboard'])
    assert cfg.visualizer.type == visualizer
    assert kinds(cfg) == ['LocalVisBackend', 'TensorboardVisBackend', 'WandbVisBackend']
    assert kinds(Config.fromstring(cfg.pretty_text, '.py')) == kinds(cfg)  # as a run saves it


@pytest.mark.parametrize('backends, expected', [
    (None, ['TensorboardVisBackend']),  # a visualizer that shall keep nothing keeps nothing else
    (dict(type='LocalVisBackend'), ['LocalVisBackend', 'TensorboardVisBackend']),
    ([dict(type='TensorboardVisBackend', save_dir='x')], ['TensorboardVisBackend']),
    ([dict(type='mmengine.TensorboardVisBackend', name='board')], ['mmengine.TensorboardVisBackend']),
    ([dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)], [LocalVisBackend, TensorboardVisBackend])])
def test_each_backend_once(backends, expected, installed):
    cfg = Config(dict(visualizer=dict(type='Visualizer', vis_backends=backends)))
    add_trackers(cfg, ['tensorboard'])
    assert kinds(cfg) == expected


def test_without_a_visualizer_and_without_a_tracker(installed):
    cfg = Config(dict(model=dict()))
    add_trackers(cfg, [])
    assert 'visualizer' not in cfg
    add_trackers(cfg, ['aim'])
    assert cfg.visualizer.type == 'Visualizer' and kinds(cfg) == ['LocalVisBackend', 'AimVisBackend']


@pytest.mark.parametrize('server', ['', 'http://localhost:5000'])
def test_mlflow_keeps_a_run_in_its_folder_or_on_a_server(server, tmp_path, monkeypatch, installed):
    """mmengine's own default, a folder of files, is refused by MLflow 3."""
    monkeypatch.setenv('MLFLOW_TRACKING_URI', server)
    cfg = Config(dict(work_dir=str(tmp_path / 'run')))
    add_trackers(cfg, ['mlflow'])
    backend = cfg.visualizer.vis_backends[-1]
    assert backend.tracking_uri == (server or f'sqlite:///{tmp_path}/run/mlflow.db') and backend.exp_name == 'run'
    assert backend.get('artifact_location') == (None if server else f'{tmp_path}/run/mlflow')


def test_a_missing_package_ends_it_before_anything_is_built(tmp_path, monkeypatch, capsys):
    (tmp_path / 'wandb').mkdir()  # the folder of its runs is no package
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'aim.py').write_text('import no_such_module')
    (tmp_path / 'dvclive.py').touch()
    for name in ('wandb', 'aim', 'dvclive', 'pygit2'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for tracker, message in (
            ('wandb', 'wandb: wandb is not installed; get it with: pip install wandb$'),
            ('aim', "aim: aim cannot be imported .No module named 'no_such_module'.; get it with: pip install aim$"),
            ('dvclive', "pygit2'.; get it with: pip install dvclive pygit2$")):
        if tracker != 'wandb' or not find_spec('wandb').origin:  # the folder counts only where the package is not
            expect_failure(capsys, run_train, [DEMO, '--tracker', 'tensorboard', '--tracker', tracker,
                                               '--work-dir', str(tmp_path / 'run')], message)
    assert not (tmp_path / 'run').exists()
    parser = ArgumentParser()
    tracker_argument(parser)
    expect_failure(capsys, parser.parse_args, ['--tracker', 'tensorbord'], "'tensorbord'.*'tensorboard'")


def events(work_dir):
    """What TensorBoard reads of each start of a run: by name, steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    starts = []
    for file in sorted(work_dir.glob('*/vis_data/events.out.tfevents.*')):
        board = EventAccumulator(str(file))
        board.Reload()
        starts.append({name: {event.step: event.value for event in board.Scalars(name)}
                       for name in board.Tags()['scalars']})
    return starts


@needs_tensorboard
@pytest.mark.slow
def test_tensorboard_shows_each_step_also_after_a_resume(tmp_path, monkeypatch):
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config.py').write_text(CONFIG)
    command = ['config.py', '--work-dir', 'run', '--tracker', 'tensorboard']
    run_train([*command, '--cfg-options', 'experiment_name=first'])
    run_train([*command, '--resume', '--cfg-options', 'experiment_name=second', 'train_cfg.max_iters=6'])
    first, second = events(tmp_path / 'run')
    assert list(first['loss']) == list(first['lr']) == [1, 2, 3, 4] and list(second['loss']) == [5, 6]
    assert all(value > 0 for value in first['loss'].values())
    assert first['lr'][1] == pytest.approx(0.001) and first['lr'][4] == pytest.approx(0.01)
    assert len(list((tmp_path / 'run').glob('*/vis_data/scalars.json'))) == 2  # mmengine's own log is kept


@needs_tensorboard
@pytest.mark.distributed
def test_of_two_processes_the_first_writes(tmp_path):
    pytest.importorskip('mmpretrain')
    write_pictures(tmp_path)
    (tmp_path / 'config.py').write_text(CONFIG)
    train_in_processes(tmp_path, 'config.py', 2, '--work-dir', 'run', '--tracker', 'tensorboard',
                       '--cfg-options', 'train_dataloader.batch_size=2')
    start, = events(tmp_path / 'run')
    assert list(start['loss']) == [1, 2, 3, 4]
