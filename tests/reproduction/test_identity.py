"""What makes two runs the same run."""
import copy

import pytest

from res2net_mm.reproduction.identity import experiment_identity, identity_hash, run_identity
from res2net_mm.reproduction.plans import RunSettings
from res2net_mm.reproduction.tables import read_tables


def config():
    data = dict(type='CocoDataset', data_root='data/coco/', ann_file='train.json')
    return dict(
        work_dir='work', data_root='data/coco/', load_from='https://host/weights.pth', randomness=dict(seed=1),
        train_dataloader=dict(batch_size=2, num_workers=4, persistent_workers=True, dataset=data),
        val_evaluator=dict(ann_file='data/coco/val.json'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
        auto_scale_lr=dict(base_batch_size=16))


def run_hash(devices=8, **changes):
    """The hash of the config's run, with changes by dotted key, __ for a dot."""
    cfg = copy.deepcopy(config())
    for key, value in changes.items():
        *path, last = key.split('__')
        section = cfg
        for name in path:
            section = section[name]
        section[last] = value
    return identity_hash(run_identity(cfg, devices))


def moved(root):
    return dict(data_root=root, train_dataloader__dataset__data_root=root, val_evaluator__ann_file=f'{root}val.json')


@pytest.mark.parametrize('changes', [
    dict(work_dir='elsewhere'), dict(train_dataloader__num_workers=0), dict(train_dataloader__persistent_workers=False),
    dict(log_level='WARNING'), dict(launcher='pytorch'), moved('/mnt/coco/'), moved('/data/'), moved('coco/'),
    dict(devices=4, train_dataloader__batch_size=4), dict(devices=1, train_dataloader__batch_size=16),
    dict(optim_wrapper__optimizer__lr=0.01, auto_scale_lr__base_batch_size=8),
], ids=str)
def test_what_makes_no_difference(changes):
    assert run_hash(**changes) == run_hash()


@pytest.mark.parametrize('changes', [
    dict(devices=1), dict(train_dataloader__batch_size=4), dict(optim_wrapper__optimizer__lr=0.01),
    dict(auto_scale_lr__base_batch_size=8), dict(randomness__seed=2), dict(load_from=None),
    dict(train_dataloader__dataset__ann_file='other.json'), dict(val_evaluator__ann_file='data/coco/test.json'),
    dict(train_dataloader__dataset__type='VOCDataset'), dict(optim_wrapper__accumulative_counts=2),
], ids=str)
def test_what_makes_another_run(changes):
    assert run_hash(**changes) != run_hash()


def test_the_config_stays_as_it_is():
    cfg = config()
    run_identity(cfg, 8)
    assert cfg == config()


def test_the_experiment_is_the_same_for_every_batch():
    other = config()
    other['train_dataloader']['batch_size'] = 4
    assert experiment_identity(other) == experiment_identity(config())
    other['optim_wrapper']['optimizer']['lr'] = 1
    assert experiment_identity(other) != experiment_identity(config())


def test_two_roots_are_not_the_same_dataset():
    """A root inside another one, and two that begin alike, keep their own names."""
    def identity(first, second):
        return run_identity(dict(
            train_dataloader=dict(batch_size=2, dataset=dict(data_root=first, ann_file=f'{first}/a.json')),
            val_dataloader=dict(dataset=dict(data_root=second, ann_file=f'{second}/a.json'))), 1)

    inside = identity('data', 'data/voc')
    assert inside['train_dataloader']['dataset'] == dict(data_root='DATA0/', ann_file='DATA0/a.json')
    assert inside['val_dataloader']['dataset'] == dict(data_root='DATA1/', ann_file='DATA1/a.json')
    assert identity('/x/coco', '/x/coco2') == inside and identity('data', 'data') != inside


def test_a_batch_that_the_config_does_not_say():
    sampler = dict(batch_sampler=dict(type='AspectRatioBatchSampler', batch_size=2))
    hashes = {identity_hash(run_identity(dict(train_dataloader=sampler), devices)) for devices in (1, 8)}
    assert len(hashes) == 2


def test_types_and_functions_are_told_by_their_names():
    assert identity_hash(dict(type=RunSettings)) != identity_hash(dict(type=read_tables))
    assert identity_hash(dict(f=lambda: 1)) == identity_hash(dict(f=lambda: 1))  # not by their addresses
