"""CheckpointHook: at every moment a whole checkpoint is there, and nothing of another run is touched."""
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from engine.toy_runs import KillAt, Killed, Line, Noisy, Scores, assert_equal_runs, read, toy_runner
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import FlexibleRunner

from res2net_mm.engine.hooks import CheckpointHook, ResumeExactly
from res2net_mm.engine.resumption import find_resumption
from res2net_mm.engine.whole_files import whole_files
from res2net_mm.utils.errors import UserError

# What a process asks of the system while it saves; a kill can come before each of them.
CALLS = [(os, 'fsync'), (os, 'replace'), (os, 'remove'), (os, 'unlink')]


class Kills:
    """Ends the run before the n-th of CALLS in the work directory; counts them."""

    def __init__(self, monkeypatch, at=None):
        self.count, self.at = 0, at
        for module, name in CALLS:
            monkeypatch.setattr(module, name, self.counted(getattr(module, name)))

    def counted(self, call):
        def counting(*args, **kwargs):
            if self.count == self.at:
                raise Killed
            self.count += 1
            return call(*args, **kwargs)
        return counting


def kill_at(work_dir, at, **options):
    """Train until the given call; returns how many there were. Like a kill, it leaves behind what was being written."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        kills = Kills(monkeypatch, at)
        monkeypatch.setattr(Path, 'unlink', lambda path, missing_ok=False: path.exists() and os.unlink(path))
        with suppress(Killed):
            toy_runner(work_dir, **options).train()
    return kills.count


THREE = dict(by_epoch=True, max_epochs=3)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run without a break: three epochs, of which the second is the best; and how many calls it makes."""
    folder = tmp_path_factory.mktemp('whole')
    calls = kill_at(folder, None, train_cfg=THREE)
    return folder, calls


@pytest.mark.slow
def test_a_kill_at_any_call(whole, tmp_path):
    """The newest whole checkpoint is the last that was saved, or the next, and the run ends as without the kill."""
    folder, calls = whole
    assert calls > 30
    names = sorted(path.name for path in folder.glob('*.pth'))
    for at in range(calls):
        work_dir = tmp_path / str(at)
        saved = []
        kill_at(work_dir, at, train_cfg=THREE, hooks=[Saved(saved)])
        found = find_resumption(work_dir)
        if not saved:
            assert found is None or found.meta['epoch'] == 1
        else:
            assert found.meta['epoch'] in (saved[-1], saved[-1] + 1)
        toy_runner(work_dir, train_cfg=THREE, resume=found and found.path).train()
        assert_equal_runs(folder / 'epoch_3.pth', work_dir / 'epoch_3.pth')
        assert sorted(path.name for path in work_dir.glob('*.pth')) == names
        assert not list(work_dir.glob('.*'))


class Saved(Hook):
    """Notes the epochs whose checkpoint is complete."""

    priority = 'LOWEST'

    def __init__(self, saved):
        self.saved = saved

    def after_train_epoch(self, runner):
        self.saved.append(runner.epoch + 1)


def test_mmengine_loses_the_last_one(tmp_path):
    """What this hook is for: of the checkpoint that is kept, a kill leaves nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(LocalBackend, 'put', kill_second_put(LocalBackend.put))
        with pytest.raises(Killed):
            toy_runner(tmp_path, hook=MMEngineCheckpointHook, save_best=None).train()
    assert not list(tmp_path.glob('*.pth')) and (tmp_path / 'last_checkpoint').is_file()


def kill_second_put(put):
    paths = []

    def counted(backend, content, path):
        paths.append(path)
        if len(paths) > 1:
            raise Killed
        put(backend, content, path)
    return counted


@pytest.mark.parametrize('number, size', [(errno.ENOSPC, 1 << 40), (errno.EDQUOT, 0)])
def test_full_disk(number, size, tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: SimpleNamespace(free=1000 if size else 1 << 40))
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) > 4:  # two for a checkpoint, two for what names it
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'fsync', fsync)
    missing = r'its disk has 0\.0 MiB free; 0\.0 MiB are missing' if size else 'a quota allows less'
    with pytest.raises(UserError, match=rf"'.*epoch_2\.pth' was not written: it takes 0\.0 MiB, and .*{missing}\. The "
                                        rf"last one that was saved is '.*epoch_1\.pth': --resume goes on from there"):
        toy_runner(tmp_path, save_best=None).train()
    monkeypatch.undo()
    assert find_resumption(tmp_path).meta['epoch'] == 1 and not list(tmp_path.glob('.*'))
    toy_runner(tmp_path, resume=tmp_path / 'epoch_1.pth', save_best=None).train()
    assert find_resumption(tmp_path).meta['epoch'] == 4


def test_a_copied_work_directory(tmp_path):
    """The run there replaces its own files: those of the original stay as they are."""
    with pytest.raises(Killed):
        toy_runner(tmp_path / 'a', hooks=[KillAt(9)]).train()
    before = {path.name: path.read_bytes() for path in (tmp_path / 'a').glob('*.pth')}
    assert any(name.startswith('best_') for name in before)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    toy_runner(tmp_path / 'b', resume=find_resumption(tmp_path / 'b').path).train()
    assert {path.name: path.read_bytes() for path in (tmp_path / 'a').glob('*.pth')} == before
    assert {path.name for path in (tmp_path / 'b').glob('*.pth')} == {'best_line_score_epoch_4.pth', 'epoch_4.pth'}


def test_several_best_ones(tmp_path):
    """Scores 1, 3, 2, 4, and errors the other way: each is its own best."""
    options = dict(save_best=['line/score', 'line/low'], rule=['greater', 'less'])
    with pytest.raises(Killed):
        toy_runner(tmp_path, hooks=[KillAt(validation=8)], **options).train()
    toy_runner(tmp_path, resume=find_resumption(tmp_path).path, **options).train()
    assert sorted(path.name for path in tmp_path.glob('best*')) == [
        'best_line_low_epoch_1.pth', 'best_line_score_epoch_4.pth']


def test_other_files_are_written_as_before(tmp_path):
    with whole_files():
        backend = get_file_backend(str(tmp_path))
        backend.put_text('text', tmp_path / 'folder' / 'a.txt')
        with whole_files():
            pass
        assert type(get_file_backend('.')) is type(backend) is not LocalBackend
    assert type(get_file_backend('.')) is LocalBackend
    assert (tmp_path / 'folder' / 'a.txt').read_text() == 'text'


def test_flexible_runner(tmp_path):
    """It counts an epoch too many in what it saves after a validation; a resumed run would leave one out."""
    def flexible(resume=None, hooks=()):
        loader = dict(dataset=Noisy(), batch_size=3, num_workers=0, collate_fn=dict(type='default_collate'))
        torch.manual_seed(5)
        runner = FlexibleRunner(
            model=Line(), work_dir=str(tmp_path / 'run'), strategy=dict(type='SingleDeviceStrategy'),
            train_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=True)),
            train_cfg=dict(by_epoch=True, max_epochs=4),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=[dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)],
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)), val_cfg=dict(),
            val_evaluator=dict(type=Scores),
            default_hooks=dict(checkpoint=CheckpointHook(
                interval=1, save_best='line/score', rule='greater', max_keep_ckpts=1)),
            randomness=dict(seed=0), resume=bool(resume), load_from=resume and str(resume))
        for hook in (*hooks, ResumeExactly()):
            runner.register_hook(hook)
        return runner

    with pytest.raises(Killed):
        flexible(hooks=[KillAt(9)]).train()
    found = find_resumption(tmp_path / 'run')
    assert (found.meta['epoch'], found.meta['iter']) == (2, 8)
    resumed = flexible(resume=found.path)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (4, 16)
    assert (read(tmp_path / 'run' / 'epoch_4.pth')['meta']['epoch']) == 4
