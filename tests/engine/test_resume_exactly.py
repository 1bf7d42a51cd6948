"""A resumed run is the run that was cut off: random numbers, batches, validation, and a schedule that is another."""
import os
import pickle
import random
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from engine.toy_runs import KillAt, Killed, Noisy, assert_equal_runs, read, toy_runner, train
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from res2net_mm.engine.hooks import ResumeSchedule
from res2net_mm.engine.numbered_batches import NumberedBatches, number_batches
from res2net_mm.utils.random_state import random_state, set_random_state


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """mmengine waits two seconds before it begins another pass over a dataset."""
    monkeypatch.setattr('mmengine.runner.loops.time', SimpleNamespace(time=time.time, sleep=lambda seconds: None))


# 1. The run.


def last_checkpoint(work_dir):
    return (work_dir / 'last_checkpoint').read_text()


@pytest.mark.parametrize('options', [
    dict(by_epoch=True),
    dict(by_epoch=True, workers=2),
    dict(by_epoch=True, workers=2, persistent=True),
    dict(by_epoch=False),
    dict(by_epoch=False, sampler='InfiniteSampler'),
    dict(by_epoch=False, workers=2, persistent=True, sampler='InfiniteSampler'),
    dict(by_epoch=False, interval=3),  # and the passes over the dataset are of 4 iterations
    dict(by_epoch=False, interval=3, train_cfg=dict(by_epoch=True, max_epochs=4)),  # in the middle of an epoch
    dict(by_epoch=False, interval=3, train_cfg=dict(by_epoch=True, max_epochs=4), workers=2),
], ids=str)
def test_bit_for_bit(options, tmp_path):
    options = dict(options, max_keep_ckpts=-1)
    train(toy_runner(tmp_path / 'whole', **options))
    with pytest.raises(Killed):
        train(toy_runner(tmp_path / 'cut', hooks=[KillAt(11)], **options))
    last = last_checkpoint(tmp_path / 'cut')
    assert read(last)['meta']['iter'] in (8, 9)
    resumed = toy_runner(tmp_path / 'cut', resume=last, seed=read(last)['meta']['seed'], **options)
    train(resumed)
    assert resumed.iter == 16
    name = os.path.basename(last_checkpoint(tmp_path / 'whole'))
    assert_equal_runs(tmp_path / 'whole' / name, tmp_path / 'cut' / name)


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('done', [4, 8, 16])
def test_validation_that_was_cut_off(by_epoch, done, tmp_path):
    """It is run first of all, and finds the best checkpoint of the run without a break."""
    toy_runner(tmp_path / 'whole', by_epoch=by_epoch).train()
    with pytest.raises(Killed):
        toy_runner(tmp_path / 'cut', by_epoch=by_epoch, hooks=[KillAt(validation=done)]).train()
    last = last_checkpoint(tmp_path / 'cut')
    assert read(last)['meta']['iter'] == done
    resumed = toy_runner(tmp_path / 'cut', by_epoch=by_epoch, resume=last)
    resumed.train()
    assert resumed.val_evaluator.metrics[0].validated == list(range(done, 17, 4))
    names = sorted(path.name for path in (tmp_path / 'whole').glob('*.pth'))
    assert names == sorted(path.name for path in (tmp_path / 'cut').glob('*.pth')) and len(names) == 2
    one, other = (read(tmp_path / folder / names[0])['state_dict'] for folder in ('whole', 'cut'))
    assert names[0].startswith('best_') and all(torch.equal(one[key], other[key]) for key in one)
    assert_equal_runs(tmp_path / 'whole' / names[1], tmp_path / 'cut' / names[1])


@pytest.mark.parametrize('by_epoch', [True, False])
def test_cut_off_again(by_epoch, tmp_path):
    """Also what is saved after the validation of a resumed run can be resumed, and so on."""
    toy_runner(tmp_path / 'whole', by_epoch=by_epoch).train()
    last = None
    for kill in (dict(validation=4), dict(iteration=6), dict(iteration=9), dict(validation=12), dict(iteration=13)):
        with pytest.raises(Killed):
            toy_runner(tmp_path / 'cut', by_epoch=by_epoch, resume=last, hooks=[KillAt(**kill)]).train()
        last = last_checkpoint(tmp_path / 'cut')
    toy_runner(tmp_path / 'cut', by_epoch=by_epoch, resume=last).train()
    names = [sorted(path.name for path in (tmp_path / name).glob('*.pth')) for name in ('whole', 'cut')]
    assert names[0] == names[1]
    assert_equal_runs(tmp_path / 'whole' / names[0][1], tmp_path / 'cut' / names[0][1])


def test_validation_that_was_run(tmp_path):
    """A checkpoint that was saved again because it is the best is not validated again."""
    with pytest.raises(Killed):
        toy_runner(tmp_path, hooks=[KillAt(9)]).train()  # the score of the second epoch is better than the first's
    resumed = toy_runner(tmp_path, resume=last_checkpoint(tmp_path))
    resumed.train()
    assert resumed.val_evaluator.metrics[0].validated == [12, 16]


def test_another_number_of_processes(tmp_path, capsys):
    toy_runner(tmp_path / 'a').train()
    checkpoint = read(last_checkpoint(tmp_path / 'a'))
    checkpoint['meta']['random_states'] *= 2
    torch.save(checkpoint, tmp_path / 'two.pth')
    toy_runner(tmp_path / 'b', resume=tmp_path / 'two.pth').train()
    said = capsys.readouterr().out
    assert 'random numbers of 2 processes, and there are 1: the resumed run is not bit for bit' in said


def test_checkpoint_of_mmengine(tmp_path, capsys):
    """It has no random numbers; the run goes on all the same."""
    with pytest.raises(Killed):
        toy_runner(tmp_path, hook=MMEngineCheckpointHook, hooks=[KillAt(9)]).train()
    resumed = toy_runner(tmp_path, resume=last_checkpoint(tmp_path))
    resumed.train()
    assert resumed.iter == 16 and 'random numbers of 0 processes' in capsys.readouterr().out


def test_epochs_of_another_length(tmp_path):
    """With other batches no epoch is cut short, unless it was begun when the checkpoint was saved."""
    toy_runner(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=2)).train()
    resumed = toy_runner(tmp_path, resume=tmp_path / 'epoch_2.pth')
    resumed.train_dataloader.batch_sampler.batch_size = 6
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (4, 8 + 2 * 2)


# 2. Numbered batches and random numbers.


def loader(**options):
    return DataLoader(Noisy(), batch_sampler=BatchSampler(SequentialSampler(range(12)), 3, False), **options)


def test_number_batches():
    numbered = loader()
    batches = number_batches(numbered, seed=1)
    assert len(numbered) == 4 and batches.batch_size == 3
    assert number_batches(numbered, seed=1) is batches
    before = torch.get_rng_state()
    assert [list(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert batches.number == 4
    batches.skip(3)
    assert [list(batch) for batch in batches] == [[9, 10, 11]]
    assert [list(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    iter(numbered)  # draws the seed of its processes
    assert torch.equal(before, torch.get_rng_state())
    assert number_batches(DataLoader(Noisy(), batch_size=None), seed=1) is None


def test_skip_passes():
    passes = []
    batches = NumberedBatches(BatchSampler(SequentialSampler(range(12)), 3, False), seed=1)
    batches.on_pass = passes.append
    batches.skip(9)
    assert [list(batch) for batch in batches] == [[3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert passes == [1, 2]
    batches.skip(4)
    assert list(batches) == [] and passes == [1, 2]  # mmengine begins the next pass
    empty = NumberedBatches([], seed=1)
    empty.skip(2)
    assert list(empty) == []


@pytest.mark.parametrize('rank, seed, first', [(0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1)])
def test_numbers_of_a_batch(rank, seed, first):
    """They depend on seed, rank and number, and not on how many processes load."""

    def draw(workers):
        numbered = loader(num_workers=workers)
        number_batches(numbered, seed, rank).number = first
        return torch.cat([batch['inputs'] for batch in numbered])[:, 1:]

    one, three = draw(1), draw(3)
    assert torch.equal(one, three)
    assert len(one.unique(dim=0)) == 12
    if (rank, seed, first) != (0, 1, 0):
        numbered = loader(num_workers=1)
        number_batches(numbered, 1)
        other = torch.cat([batch['inputs'] for batch in numbered])[:, 1:]
        assert not torch.equal(one[0], other[0])
        assert torch.equal(one[0], other[3]) == (first == 1)  # the second batch of a run that began with the first


def test_batch_in_the_main_process():
    """Nothing is seeded there: dropout and the like draw from the same numbers."""
    numbered = loader()
    batch = next(iter(number_batches(numbered, 1)))
    assert pickle.loads(pickle.dumps(batch)).entropy == batch.entropy == (1, 0, 0)
    before = torch.get_rng_state()
    assert list(batch) == [0, 1, 2] and torch.equal(before, torch.get_rng_state())


def test_random_state(tmp_path):
    torch.save(random_state(), tmp_path / 'state.pth')

    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item(), np.random.normal()

    drawn = draw()
    assert draw() != drawn
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert draw() == drawn


# 3. A config that is another by now.

LONGER = [dict(type='CosineAnnealingLR', T_max=8, by_epoch=True)]


def resume_with(tmp_path, follow=False, **options):
    """Resume a run that was cut off in its third epoch, with other options; returns the rate of the third epoch."""
    with pytest.raises(Killed):
        toy_runner(tmp_path, hooks=[KillAt(9)]).train()
    resumed = toy_runner(tmp_path, resume=last_checkpoint(tmp_path), hooks=[KillAt(9)], **options)
    next(hook for hook in resumed.hooks if isinstance(hook, ResumeSchedule)).follow_config = follow
    with pytest.raises(Killed):
        resumed.train()
    return resumed.optim_wrapper.param_groups[0]


def test_a_longer_schedule(tmp_path, capsys):
    rate = resume_with(tmp_path, schedulers=LONGER)['lr']
    said = capsys.readouterr().out
    assert rate == pytest.approx(0.05)
    assert ('learning rate 0.05. A run of the config would have 0.08536 here: CosineAnnealingLR.T_max is 4 in the '
            'checkpoint, 8 in the config. To go on with the schedule of the config: --resume --new-schedule') in said


def test_new_schedule(tmp_path, capsys):
    group = resume_with(tmp_path, follow=True, schedulers=LONGER)
    assert group['lr'] == pytest.approx(0.1 * (1 + np.cos(np.pi / 4)) / 2)
    assert 'schedule of the config: learning rate 0.08536, and not 0.05' in capsys.readouterr().out


@pytest.mark.parametrize('schedulers, said', [
    ([*LONGER, dict(type='MultiStepLR', milestones=[9], by_epoch=True)], '1 schedules in the checkpoint, 2 in the'),
    ([dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)], None),
])
def test_differences(schedulers, said, tmp_path, capsys):
    resume_with(tmp_path, schedulers=schedulers)
    printed = capsys.readouterr().out
    assert (said in printed) if said else ('in the checkpoint' not in printed)
