"""tools/train.py --resume, --new-schedule, --deterministic and --debug, and the hooks that every run gets."""
import errno
import shutil

import pytest
import torch
from helpers import AVERAGE_LOSS, CLASSIFIER, write_pictures
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

from res2net_mm.cli.resume import go_on, guard_run
from res2net_mm.cli.train import main as run_train
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_types import config_class

pytest.importorskip('mmpretrain')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The config of a small classifier with random flips, and 16 images."""
    folder = tmp_path_factory.mktemp('classifier')
    flip = "dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5)"
    (folder / 'classifier.py').write_text(CLASSIFIER.replace("dict(type='LoadImageFromFile')", flip))
    (folder / 'average_loss.py').write_text(AVERAGE_LOSS)
    write_pictures(folder)
    return folder


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))


def run(work_dir, *arguments):
    run_train(['classifier.py', '--device', 'cpu', '--work-dir', str(work_dir), *arguments])


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def equal(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture(scope='module')
def trained(folder, tmp_path_factory):
    """Four iterations, of which the second and the fourth are saved."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        work_dir = tmp_path_factory.mktemp('trained')
        run(work_dir)
    return work_dir


def log(work_dir):
    return ''.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


@pytest.mark.slow
def test_newest_is_truncated(trained, tmp_path):
    """In a copy of the work directory: it goes on from its own whole one, and ends with the same weights."""
    work_dir = shutil.copytree(trained, tmp_path / 'copy', ignore=lambda folder, names: [
        name for name in names if name.endswith('.log')])
    (work_dir / 'iter_4.pth').write_bytes((work_dir / 'iter_4.pth').read_bytes()[:999])
    run(work_dir, '--resume')
    said = log(work_dir)
    assert f"checkpoint '{work_dir}/iter_4.pth' is truncated" in said and str(trained) not in said
    assert f"the run goes on from '{work_dir}/iter_2.pth', the newest that is whole" in said
    assert equal(weights(trained / 'iter_4.pth'), weights(work_dir / 'iter_4.pth'))


@pytest.mark.slow
@pytest.mark.parametrize('variable', ['TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'])
def test_started_again(variable, trained, tmp_path, monkeypatch):
    """Without --resume, it goes on from what it has saved."""
    monkeypatch.setenv(variable, '1')
    work_dir = shutil.copytree(trained, tmp_path / 'copy')
    (work_dir / 'iter_4.pth').unlink()
    (work_dir / 'last_checkpoint').write_text('iter_2.pth')
    run(work_dir)
    assert 'resumed epoch: 0, iter: 2' in log(work_dir)
    assert equal(weights(trained / 'iter_4.pth'), weights(work_dir / 'iter_4.pth'))


def test_nothing_to_resume(tmp_path):
    """Weights to begin with are not forgotten: a run that is always started with --resume begins with them."""
    cfg = Config(dict(work_dir=str(tmp_path), load_from='weights.pth'))
    assert go_on(cfg, 'auto') == [f"'{tmp_path}' has no checkpoint yet: the run begins"]
    assert (cfg.resume, cfg.load_from) == (False, 'weights.pth')


def test_seed_of_the_run(trained):
    """A config that leaves it to chance goes on with the order of images that the run has."""
    cfg = Config(dict(work_dir=str(trained), load_from='weights.pth'))
    assert go_on(cfg, 'auto') == []
    assert (cfg.resume, cfg.load_from, cfg.randomness.seed) == (True, str(trained / 'iter_4.pth'), 3)
    cfg = Config(dict(work_dir=str(trained), randomness=dict(seed=5)))
    go_on(cfg, 'auto')
    assert cfg.randomness.seed == 5


def test_weights_alone(trained, tmp_path, capsys):
    torch.save(dict(state_dict=weights(trained / 'iter_4.pth')), tmp_path / 'weights.pth')
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / 'run', '--resume', str(tmp_path / 'weights.pth'))
    assert 'has weights and no state of a training' in stop.value.code and 'load_from=' in stop.value.code
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_deterministic(tmp_path):
    """Without a seed in the config, two runs are equal, and another seed makes another run."""
    options = ['--deterministic', '--cfg-options', 'randomness.seed=None', 'train_cfg.max_iters=2']
    for name in 'ab':
        run(tmp_path / name, *options, f'experiment_name={name}')
    run(tmp_path / 'c', *options, 'experiment_name=c', 'randomness.seed=1')
    torch.use_deterministic_algorithms(False)
    a, b, c = (weights(tmp_path / name / 'iter_2.pth') for name in 'abc')
    assert equal(a, b) and not equal(a, c)


def test_full_disk_anywhere(trained, tmp_path, monkeypatch, capsys):
    """Also where a log is written, a full disk is a message."""

    def fill(self):
        raise OSError(errno.ENOSPC, 'No space left on device', 'scalars.json')

    monkeypatch.setattr('mmengine.runner.Runner.train', fill)
    with pytest.raises(SystemExit, match="No space left on device: 'scalars.json': make room, and go on with --resume"):
        run(tmp_path / 'run')


@pytest.mark.parametrize('flags', [[], ['--debug']])
def test_debug(flags, tmp_path, capsys):
    with pytest.raises(SystemExit, match="'nosuch.pth' does not exist"):
        run(tmp_path, '--resume', 'nosuch.pth', *flags)
    assert ('Traceback' in capsys.readouterr().err) == bool(flags)


# The hooks of every run.


@HOOKS.register_module()
class OwnCheckpointHook(CheckpointHook):
    """One that a user has written."""


def hook_names(cfg):
    hooks = [cfg.default_hooks.checkpoint, *cfg.custom_hooks]
    return [config_class(hook, HOOKS, cfg.get('default_scope')).__name__ for hook in hooks if hook]


OURS = ['CheckpointHook', 'StopAtInvalidLoss', 'ResumeExactly', 'ResumeSchedule']


@pytest.mark.parametrize('style', ['names', 'classes'])
def test_hooks_of_a_config(style, config_styles):
    cfg = load_config(config_styles[style])
    before = cfg.default_hooks.checkpoint.to_dict()
    assert guard_run(cfg) == []
    assert cfg.default_hooks.checkpoint == dict(before, type='res2net_mm.CheckpointHook')
    assert set(OURS) <= set(hook_names(cfg))
    again = Config.fromstring(cfg.pretty_text, '.py') if style == 'names' else cfg  # as a run has dumped it
    count = len(again.custom_hooks)
    guard_run(again, new_schedule=True)
    assert len(again.custom_hooks) == count
    assert [hook.follow_config for hook in again.custom_hooks if 'follow_config' in hook] == [True]


@pytest.mark.parametrize('default_hooks, first, warned', [
    (None, 'CheckpointHook', False),
    (dict(checkpoint=dict(type=CheckpointHook, interval=3)), 'CheckpointHook', False),
    (dict(checkpoint=dict(type='OwnCheckpointHook')), 'OwnCheckpointHook', True),
    (dict(checkpoint=None), None, False),
])
def test_checkpoint_hook(default_hooks, first, warned):
    cfg = Config(dict(custom_hooks=[dict(type='CheckpointHook', by_epoch=False, interval=7)]))
    if default_hooks:
        cfg.default_hooks = default_hooks
    warnings = guard_run(cfg)
    assert hook_names(cfg) == ([first] if first else []) + ['CheckpointHook', *OURS[1:]]
    assert cfg.custom_hooks[0] == dict(type='res2net_mm.CheckpointHook', by_epoch=False, interval=7)
    assert [('OwnCheckpointHook saves as mmengine does' in warning) for warning in warnings] == [True] * warned
