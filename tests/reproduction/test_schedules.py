"""Cut schedules and random weights."""
import pytest

from res2net_mm import load_config
from res2net_mm.reproduction.schedules import (
    config_difference,
    derived_config_text,
    random_weights,
    short_schedule,
    smoke_schedule,
)

DEMO = 'res2net_mm::demo_faster_rcnn_r2n26_shapes.py'
COCO = 'res2net_mm::faster_rcnn_r50_coco.py'


def test_short_schedule_in_epochs():
    cfg = load_config(COCO).to_dict()
    cut = short_schedule(cfg)
    assert cfg == load_config(COCO).to_dict()  # the original is left alone
    assert cut['train_cfg']['max_epochs'] == 2
    warm_up, steps = cut['param_scheduler']
    assert (warm_up['begin'], warm_up['end']) == (0, 83)  # 500 of 12 epochs
    assert (steps['end'], steps['milestones']) == (2, [1])

    cfg['train_cfg'].update(max_epochs=140, val_interval=10)
    cfg['param_scheduler'][1].update(end=140, milestones=[90, 120])
    cut = short_schedule(cfg)
    assert (cut['train_cfg']['max_epochs'], cut['train_cfg']['val_interval']) == (14, 1)
    assert (cut['param_scheduler'][0]['end'], cut['param_scheduler'][1]['milestones']) == (50, [9, 12])


def test_short_schedule_in_iterations():
    cut = short_schedule(load_config(DEMO).to_dict())
    assert (cut['train_cfg']['max_iters'], cut['train_cfg']['val_interval']) == (60, 20)
    assert cut['default_hooks']['checkpoint']['interval'] == 30
    assert cut['param_scheduler'][0]['end'] == 5
    assert 'end' not in cut['param_scheduler'][1]  # to the end of the training, whatever that is
    one = dict(type='PolyLR', begin=1500, end=30000, by_epoch=False)
    cut = short_schedule(dict(train_cfg=dict(max_iters=30000, val_interval=3000), param_scheduler=one))
    assert cut['param_scheduler'] == dict(type='PolyLR', begin=150, end=3000, by_epoch=False)
    never = dict(train_cfg=dict(max_iters=100, val_interval=-1), default_hooks=dict(checkpoint=dict(interval=-1)))
    assert short_schedule(never) == dict(never, train_cfg=dict(max_iters=10, val_interval=-1))


def test_smoke_schedule_finds_the_innermost_data():
    cfg = load_config(COCO).to_dict()
    plain = cfg['train_dataloader']['dataset']
    cfg['train_dataloader']['dataset'] = dict(
        type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[plain, dict(plain)]))
    cut = smoke_schedule(cfg)
    assert cut['train_cfg']['max_epochs'] == 1
    assert smoke_schedule(load_config(DEMO).to_dict())['train_cfg']['max_iters'] == 2
    loader = cut['train_dataloader']
    assert [dataset['indices'] for dataset in loader['dataset']['dataset']['datasets']] == [4, 4]
    assert (loader['batch_size'], loader['num_workers'], loader['persistent_workers']) == (2, 0, False)
    assert cut['test_dataloader']['dataset']['indices'] == 2 and cut['test_dataloader']['batch_size'] == 1


def test_from_scratch_drops_all_weights():
    cfg = load_config(COCO).to_dict()
    cfg['model']['roi_head']['shared_head'] = dict(
        norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
    cfg['load_from'] = 'detector.pth'
    model = random_weights(cfg)['model']
    assert model['backbone']['init_cfg'] is None and model['backbone']['frozen_stages'] == -1
    assert model['backbone']['norm_eval'] is False
    assert model['roi_head']['shared_head'] == dict(norm_eval=False, init_cfg=None)
    assert 'Pretrained' not in str(random_weights(cfg)['model']) and random_weights(cfg)['load_from'] is None


@pytest.mark.parametrize('config', [DEMO, COCO], ids=['iterations', 'epochs'])
@pytest.mark.parametrize('change', [short_schedule, smoke_schedule, random_weights])
def test_derived_config_is_the_changed_one(config, change, tmp_path):
    cfg = load_config(config).to_dict()
    changed = change(cfg)
    path = tmp_path / 'config.py'
    path.write_text(derived_config_text(config, config_difference(cfg, changed), 'changed'))
    assert load_config(path).to_dict() == changed
