"""Every config: short, headed by its command, and it builds a model that trains a step."""
import ast
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config

CONFIGS = sorted((Path(__file__).parents[1] / 'configs').glob('*.py'))
BACKBONE_ONLY = [path for path in CONFIGS if not path.name.startswith('demo_')]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.name)
def test_opens_with_its_command(path):
    header = ast.get_docstring(ast.parse(path.read_text()))
    assert f'tools/train.py configs/{path.name}' in header or 'make demo' in header
    assert 'aper' in header  # the paper's number, or that it has none


@pytest.mark.parametrize('path', BACKBONE_ONLY, ids=lambda path: path.name)
def test_is_short(path):
    assert len(path.read_text().splitlines()) <= 15


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.name)
def test_trains_a_step(path):
    testing = pytest.importorskip('mmdet.testing')
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    classes = cfg.model.roi_head.bbox_head.num_classes
    packed = testing.demo_mm_inputs(2, [[3, 64, 64], [3, 64, 96]], num_items=[2, 1], num_classes=classes)
    data = model.data_preprocessor(packed, training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


def test_the_twins_differ_in_the_backbone_alone():
    ours, twin = (load_config(f'res2net_mm::faster_rcnn_{name}_coco.py').to_dict() for name in ('r2n50', 'r50'))
    differing = {key for key in ours['model']['backbone'].keys() | twin['model']['backbone'].keys()
                 if ours['model']['backbone'].get(key) != twin['model']['backbone'].get(key)}
    assert differing == {'type', 'init_cfg'}
    ours['model'].pop('backbone'), twin['model'].pop('backbone')
    assert ours == twin


@pytest.mark.parametrize('base, scope', [
    ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'mmdet'),
    ('mmseg::_base_/models/deeplabv3plus_r50-d8.py', 'mmseg'),
    ('mmpose::_base_/default_runtime.py', 'mmpose'),
    ('mmpretrain::_base_/models/resnet50.py', 'mmpretrain'),
    ('res2net_mm::faster_rcnn_r2n50_coco.py', None),
])
def test_bases_of_every_package(base, scope, tmp_path):
    pytest.importorskip(base.partition('::')[0])
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = '{base}'\nmodel = dict(added=1)\n")
    cfg = load_config(mine)
    assert cfg.model.added == 1 and len(cfg.model) + len(cfg) > 2  # something came from the base
    if scope:
        assert '_scope_' in str(cfg) or 'default_scope' in cfg
    else:
        assert cfg.model.backbone.type == 'res2net_mm.Res2Net' and cfg.default_scope == 'mmdet'


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg', 'mmpose', 'mmpretrain'])
def test_builds_in_every_toolbox_without_custom_imports(toolbox):
    registry = pytest.importorskip(f'{toolbox}.registry')
    init_default_scope(toolbox)
    built = registry.MODELS.build(dict(type='res2net_mm.Res2Net', depth=26, base_channels=16))
    assert type(built).__module__ == 'res2net_mm.models.res2net'


@pytest.mark.parametrize('base, message', [
    ('res2net_mm::faster_rcnn_r2n_coco.py', 'did you mean faster_rcnn_r2n50_coco.py'),
    ('nosuchpackage::a.py', "'nosuchpackage' is not installed"),
])
def test_unknown_base(base, message, tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = '{base}'\n")
    with pytest.raises((FileNotFoundError, ModuleNotFoundError), match=message):
        load_config(mine)
