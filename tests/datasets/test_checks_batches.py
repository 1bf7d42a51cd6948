"""The batches to train on: whether there are any, and whether one of a single image can be trained on."""
import copy
import random

import numpy as np
import pytest
import torch
from helpers import write_pictures
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, init_default_scope
from torch import nn
from torch.utils.data import DataLoader

from res2net_mm.datasets.checks import BuiltModel, BuiltSplit
from res2net_mm.datasets.checks.batches import check_batches, images_per_process

pytest.importorskip('mmpretrain')


class Net(BaseModel):
    """A convolution with a norm, and with another one behind a pooling of the whole image."""

    def __init__(self, pooled=nn.BatchNorm2d, mode=None):
        super().__init__()
        self.conv, self.norm, self.pooled = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), pooled(4)
        self.mode = mode

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if self.mode == 'broken':
            raise KeyError('iter')
        x = self.norm(self.conv(torch.stack(inputs).float()))
        x = self.pooled(x.mean((2, 3), keepdim=True))
        return dict(loss=x.mean() + torch.rand(1))

    def train(self, mode=True):
        super().train(mode)
        if self.mode == 'frozen':
            self.norm.eval()
            self.pooled.eval()
        return self


class Alike(nn.Identity):
    """In the place of a norm."""


@pytest.fixture
def pictures(tmp_path):
    """A set of 16 images; its pipeline draws random numbers."""
    write_pictures(tmp_path)
    init_default_scope('mmpretrain')
    return DATASETS.build(dict(type='CustomDataset', data_root=str(tmp_path / 'pictures'), pipeline=[
        dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=16, padding=4),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'), dict(type='PackInputs')]))


def find(dataset, batch_size, model=None, sampler=None, iterations=None, **options):
    loader = DataLoader(dataset, batch_size, sampler=sampler or DefaultSampler(dataset, seed=0),
                        collate_fn=pseudo_collate, **options)
    model = model or Net()
    return list(check_batches(BuiltModel(model), [
        BuiltSplit('train', [dataset], dataloader=loader, iterations=iterations)]))


@pytest.mark.parametrize(('batch_size', 'message'), [
    (5, 'the last batch of every epoch has one image for a process, of which model.pooled, a batch norm that is '
        'trained, gets one value for each channel, and it needs two: set train_dataloader.drop_last=True, or another '
        'train_dataloader.batch_size than 5'),
    (1, 'every batch has one image for a process, of which model.pooled, a batch norm that is trained, gets one value '
        'for each channel, and it needs two: set train_dataloader.batch_size=2 or more'),
])
def test_a_batch_that_cannot_be_trained_on(batch_size, message, pictures):
    """It is what PyTorch says at the end of the epoch, and what is said to be set mends it."""
    problem, = find(pictures, batch_size)
    assert problem.fatal and problem.message == message
    with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
        for batch in DataLoader(pictures, batch_size, collate_fn=pseudo_collate):
            Net().train()(**batch, mode='loss')
    assert not find(pictures, 5, iterations=3) and find(pictures, 5, iterations=4)  # which are all batches of an epoch
    assert find(pictures, 5, drop_last=True) == find(pictures, 4) == find(pictures, 6) == []


def test_a_batch_that_can_be_trained_on(pictures):
    problem, = find(pictures, 5, Net(Alike))
    assert not problem.fatal and '1 batch norms take their statistics from it' in problem.message
    assert find(pictures, 5, Net(mode='frozen')) == []
    assert find(pictures, 5, Net(mode='broken')) == []  # the run will say it, if it comes to that
    assert find(pictures, 5, nn.Linear(1, 1)) == []


def test_the_trial_leaves_no_trace(pictures):
    """The same random numbers come afterwards, the model is the same, and the data come as before."""
    model = Net()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    numbers = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(3), np.random.seed(3), random.seed(3)
    assert find(pictures, 5, model)
    assert numbers == (torch.rand(1), np.random.rand(), random.random())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training and not any(module._forward_pre_hooks for module in model.modules())


def test_samplers(pictures, monkeypatch):
    assert find(pictures, 5, sampler=InfiniteSampler(pictures, seed=0)) == []
    assert find(pictures, 1, sampler=InfiniteSampler(pictures, seed=0))[0].fatal
    pytest.importorskip('mmdet')
    from mmdet.datasets.samplers import AspectRatioBatchSampler, MultiDataAspectRatioBatchSampler
    for drop_last, count in ((False, 1), (True, 0)):
        sampler = AspectRatioBatchSampler(DefaultSampler(pictures, seed=0), 5, drop_last)
        loader = DataLoader(pictures, batch_sampler=sampler, collate_fn=pseudo_collate)
        found = list(check_batches(BuiltModel(Net()), [BuiltSplit('train', [], dataloader=loader)]))
        assert len(found) == count
        assert not found or 'set train_dataloader.batch_sampler.drop_last=True' in found[0].message
    sampler = MultiDataAspectRatioBatchSampler(DefaultSampler(pictures, seed=0), [1, 4], 2)
    loader = DataLoader(pictures, batch_sampler=sampler, collate_fn=pseudo_collate)
    assert list(check_batches(BuiltModel(Net()), [BuiltSplit('train', [], dataloader=loader)])) == []


def test_left_over_images_of_an_aspect_ratio_sampler():
    """Whatever the order and the shapes, its last batch has what is left of all images."""
    pytest.importorskip('mmdet')
    from mmdet.datasets.samplers import AspectRatioBatchSampler
    for wide in range(12):
        data = [dict(width=2 if i < wide else 1, height=1.5) for i in range(11)]
        dataset = type('Data', (), dict(get_data_info=lambda _, i, data=data: data[i], __len__=lambda _: 11))()
        sizes = [len(batch) for batch in AspectRatioBatchSampler(DefaultSampler(dataset, seed=wide), 5)]
        assert sorted(sizes) == [1, 5, 5]


@pytest.mark.parametrize(('round_up', 'sizes'), [(True, [6]), (False, [6, 5, 5])])
def test_images_of_several_processes(round_up, sizes, pictures, monkeypatch):
    """16 images for three processes: with batches of 5, one process has a last batch of one image."""
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (1, 3))
    sampler = DefaultSampler(pictures, seed=0, round_up=round_up)
    loader = DataLoader(pictures, 5, sampler=sampler, collate_fn=pseudo_collate)
    assert images_per_process(loader) == sizes
    assert sizes == sorted({len(range(rank, 18 if round_up else 16, 3)) for rank in range(3)}, reverse=True) + (
        [] if round_up else [5])
    assert find(pictures, 5, sampler=sampler)[0].fatal


def test_no_batch_at_all(pictures):
    problem, = find(pictures, 32, drop_last=True)
    assert problem.message == (
        'train_dataloader has 16 images for a process and batches of 32, and train_dataloader.drop_last=True leaves '
        'none: set train_dataloader.batch_size=16 or less')
