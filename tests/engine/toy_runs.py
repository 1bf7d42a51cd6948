"""Runs of a model with one layer through mmengine's Runner, in a fraction of a second, for the tests of saving."""
import math
import random

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from res2net_mm.engine.hooks import CheckpointHook, ResumeExactly, ResumeSchedule

IMAGES = 12


class Noisy(Dataset):
    """Numbers with noise from every generator that augmentation draws from; ``seen`` are the indices that were read."""

    def __init__(self):
        self.seen = []

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        self.seen.append(index)
        return dict(inputs=torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()]))


class Line(BaseModel):
    """One layer with dropout; its loss is the mean of its outputs squared."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, mode='tensor'):
        out = self.dropout(self.layer(inputs))
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class Scores(BaseMetric):
    """The score of each epoch, or of every 4 iterations, from a list."""

    default_prefix = 'line'

    def __init__(self, scores=(1., 3., 2., 4.)):
        super().__init__()
        self.scores = scores
        self.validated = []

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        # 3 after the iteration of that index, and 4 before the next: when a resumed run validates first of all.
        count = math.ceil(MessageHub.get_current_instance().get_info('iter') / 4)
        self.validated.append(4 * count)
        return dict(score=self.scores[count - 1], low=self.scores[count - 1])


def toy_runner(work_dir, resume=None, by_epoch=True, hook=CheckpointHook, hooks=(), schedulers=None, seed=0, workers=0,
               persistent=False, model=None, train_cfg=None, sampler='DefaultSampler', **checkpoint):
    """A Runner of 4 epochs or 16 iterations of 3 images.

    Args:
        resume (path | None): A checkpoint to resume.
        hook (type): Of the checkpoints. Defaults to ours.
        hooks (Sequence[Hook]): More of them.
        checkpoint: Arguments of the checkpoint hook.
    """
    loader = dict(dataset=Noisy(), batch_size=3, num_workers=workers, persistent_workers=persistent,
                  sampler=dict(type=sampler, shuffle=True), collate_fn=dict(type='default_collate'))
    torch.manual_seed(5)
    train_cfg = train_cfg or (dict(by_epoch=True, max_epochs=4) if by_epoch
                              else dict(by_epoch=False, max_iters=16, val_interval=4))
    settings = dict(interval=1 if by_epoch else 4, by_epoch=by_epoch, max_keep_ckpts=1, save_best='line/score',
                    rule='greater')
    runner = Runner(
        model=model or Line(), work_dir=str(work_dir), train_dataloader=loader, train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=schedulers or [dict(type='CosineAnnealingLR', T_max=4 if by_epoch else 16, by_epoch=by_epoch)],
        val_dataloader=dict(loader, dataset=Noisy(), num_workers=0, persistent_workers=False,
                            sampler=dict(type='DefaultSampler')),
        val_cfg=dict(), val_evaluator=dict(type=Scores), default_hooks=dict(
            checkpoint=hook(**{**settings, **checkpoint}), logger=dict(type='LoggerHook', interval=100)),
        randomness=dict(seed=seed), resume=bool(resume), load_from=resume and str(resume), log_level='WARNING',
        experiment_name=f'run{random.SystemRandom().random()}')
    for extra in (*hooks, ResumeExactly(), ResumeSchedule()):
        runner.register_hook(extra)
    return runner


class Killed(BaseException):
    """Ends a run as a kill would: nobody catches it."""


class KillAt(Hook):
    """Ends a run before an iteration, or in the validation after so many."""

    def __init__(self, iteration=None, validation=None):
        self.iteration, self.validation = iteration, validation

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise Killed

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.validation:
            raise Killed


def train(runner):
    """Train, and end the processes that load data, which otherwise wait for the garbage collection."""
    try:
        runner.train()
    finally:
        iterator = runner.train_dataloader._iterator  # that of persistent workers
        if iterator is not None:
            iterator._shutdown_workers()


def read(path):
    return torch.load(path, weights_only=False)


def assert_equal_runs(one, other):
    """Two checkpoints are bit for bit the same training: weights, optimizer, schedules, random numbers, place."""
    one, other = read(one), read(other)
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for key in one['state_dict']:
        assert torch.equal(one['state_dict'][key], other['state_dict'][key]), key
    for index, state in one['optimizer']['state'].items():
        assert torch.equal(state['momentum_buffer'], other['optimizer']['state'][index]['momentum_buffer'])
    assert one['param_schedulers'] == other['param_schedulers']
    assert (one['meta']['epoch'], one['meta']['iter']) == (other['meta']['epoch'], other['meta']['iter'])
    assert str(one['meta']['random_states']) == str(other['meta']['random_states'])
