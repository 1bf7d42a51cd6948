"""Changes to whole configs."""
import pytest
from mmengine.config import Config

from res2net_mm.utils.config_edits import apply_setting, move_data_root
from res2net_mm.utils.errors import UserError


def test_data_root_moves_wherever_a_path_starts_with_it():
    cfg = Config(dict(
        data_root='data/coco/', other='data/coco2/', count=3,
        train_dataloader=dict(dataset=dict(data_root='data/coco', prefixes=['data/coco/train', 'val'])),
        evaluators=({'ann_file': 'data/coco/annotations/val.json'}, )))
    move_data_root(cfg, '/big//')
    assert cfg.data_root == '/big/' and cfg.other == 'data/coco2/' and cfg.count == 3
    assert cfg.train_dataloader.dataset.data_root == '/big/'
    assert cfg.train_dataloader.dataset.prefixes == ['/big/train', 'val']
    assert cfg.evaluators[0].ann_file == '/big/annotations/val.json'

    cfg = Config(dict(train_dataloader=dict(dataset=dict(data_root='old'))))
    move_data_root(cfg, 'new')
    assert cfg.train_dataloader.dataset.data_root == 'new/'
    cfg = Config(dict(test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[
        dict(ann_file='old/a.json'), dict(data_root='old', ann_file='b.json')]))))  # there is nothing to train on
    move_data_root(cfg, 'new')
    first, second = cfg.test_dataloader.dataset.datasets
    assert (first.ann_file, second.data_root, second.ann_file) == ('new/a.json', 'new/', 'b.json')
    with pytest.raises(UserError, match='--data-root: this config has no data_root'):
        move_data_root(Config(dict(train_dataloader=dict(dataset=dict()))), 'new')
    with pytest.raises(UserError, match='--data-root: this config has no data_root'):
        move_data_root(Config(dict(val_dataloader=None, work_dir='old')), 'new')


def test_a_setting_is_merged():
    cfg = Config(dict(batch_size=1, test_settings=dict(large=dict(batch_size=8))))
    apply_setting(cfg, 'large', 'a.py')
    assert cfg.batch_size == 8
    with pytest.raises(UserError, match='--setting small: a.py has only large'):
        apply_setting(cfg, 'small', 'a.py')
    with pytest.raises(UserError, match='--setting small: a.py has no test_settings'):
        apply_setting(Config(dict()), 'small', 'a.py')
