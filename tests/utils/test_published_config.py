"""A config that is published builds and tests the same model, and tells nothing of the machine."""
import pytest
from helpers import CONFIGS, config_path
from mmengine.config import Config

from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_edits import move_data_root
from res2net_mm.utils.errors import UserError
from res2net_mm.utils.published_config import config_text, publishable_config, without_machine

PRIVATE = """
default_scope = 'mmdet'
work_dir = '/home/alice/runs'
wandb_key = 'secret'
launcher = 'slurm'
vis_backends = [dict(type='WandbVisBackend', init_kwargs=dict(entity='secret'))]
visualizer = dict(type='DetLocalVisualizer', name='visualizer', vis_backends=vis_backends)
load_from = '/mnt/nfs/alice/epoch_3.pth'
model = dict(type='FasterRCNN', a=(1, -2.5, None), b={'x.y': [True]}, limit=float('inf'), least=-float('inf'),
             backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s')),
             teacher='http://login:secret@models.example.org/a.pth?token=secret')
train_dataloader = dict(dataset=dict(
    data_root='/home/alice', ann_file='C:\\\\Users\\\\alice\\\\coco\\\\train.json', backend_args=dict(key='secret'),
    data_prefix=dict(img='train2017/')))
val_dataloader = dict(dataset=dict(ann_file='s3://alice-bucket/coco/val.json', data_root='~alice/x', seg='file:///u/alice'))
test_evaluator = dict(ann_file='http://alice-pc.local/data/a/val.json', b='http://10.0.0.3/alice/b/c.json')
"""


def test_nothing_of_the_machine(tmp_path):
    (tmp_path / 'mine.py').write_text(PRIVATE)
    cfg = publishable_config(load_config(tmp_path / 'mine.py').pretty_text, 'mine')
    text = cfg.pretty_text
    assert not [word for word in ('alice', 'secret', 'wandb', 'Wandb', '10.0.0.3', 'slurm', 'login') if word in text]
    (tmp_path / 'published.py').write_text(config_text(cfg))
    assert load_config(tmp_path / 'published.py').model == cfg.model
    assert cfg.load_from == 'PATH_TO/epoch_3.pth'
    assert cfg.model.a == (1, -2.5, None) and cfg.model.b == {'x.y': [True]} and cfg.model.limit == float('inf')
    assert cfg.model.backbone.init_cfg.checkpoint == 'res2net_mm://res2net50_26w4s'
    assert cfg.model.teacher == 'http://models.example.org/a.pth'
    assert cfg.train_dataloader.dataset == dict(
        data_root='PATH_TO/data', ann_file='PATH_TO/train.json', data_prefix=dict(img='train2017/'))
    assert cfg.val_dataloader.dataset == dict(ann_file='PATH_TO/val.json', data_root='PATH_TO/data1', seg='PATH_TO/')
    assert cfg.test_evaluator == dict(ann_file='PATH_TO/val.json', b='PATH_TO/c.json')
    assert cfg.visualizer == dict(type='DetLocalVisualizer', name='visualizer')


@pytest.mark.parametrize('name', ['demo_faster_rcnn_r2n26_shapes.py', 'simplebaseline_r2n50_coco.py'])
def test_our_configs(name):
    """What remains is as it was, and can be written and read again."""
    cfg = load_config(config_path(name))
    published = publishable_config(cfg.pretty_text, 'mine')
    assert published.model == cfg.model and published.get('train_cfg') == cfg.get('train_cfg')
    assert publishable_config(published.pretty_text, 'mine').to_dict() == published.to_dict()
    assert str(CONFIGS) not in published.pretty_text


@pytest.mark.parametrize('text', [
    'import os', 'a = open("/etc/passwd")', 'a = dict(**b)', 'a = {**b}', 'a = [x for x in ()]', 'a = b', 'a = dict(1)',
    'a, b = 1, 2', 'a = (', 'a = ' + '[' * 5000])
def test_programs_are_not_run(text):
    with pytest.raises(UserError, match='^mine holds more .* is not run. Give .* --config FILE'):
        publishable_config(text, 'mine')


def test_without_machine():
    assert without_machine({'/a/b/c': ('/data/sets/coco', 3)}) == {'PATH_TO/c': ('PATH_TO/coco', 3)}
    assert without_machine('data/coco/') == 'data/coco/' and without_machine('http://[') == 'PATH_TO/'
    assert Config(dict(a=without_machine('petrel://bucket/a/b'))).a == 'PATH_TO/b'


def test_data_root_can_be_moved():
    """Files under an absolute data_root keep their place in it, so that --data-root finds them on another machine."""
    text = ("train_dataloader = dict(dataset=dict(data_root='/home/alice/coco/', ann_file='a/train.json'))\n"
            "test_evaluator = dict(ann_file='/home/alice/coco/a/val.json', other='/home/alice/coconut/b.json')\n")
    cfg = publishable_config(text, 'mine')
    assert cfg.train_dataloader.dataset.data_root == 'PATH_TO/data/'
    assert cfg.test_evaluator == dict(ann_file='PATH_TO/data/a/val.json', other='PATH_TO/b.json')
    move_data_root(cfg, '/data')
    assert cfg.test_evaluator.ann_file == '/data/a/val.json'
    assert cfg.train_dataloader.dataset.data_root == '/data/'
