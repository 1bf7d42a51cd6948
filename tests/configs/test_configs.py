"""Every config: short, headed by its command, and it builds a model that trains a step."""
import ast
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import yaml
from helpers import CONFIGS, EXPERIMENTS, LEAVES, ROOT, config_path, randomise, relative_error
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config
from res2net_mm.reproduction import tables as paper

OURS = [path for path in EXPERIMENTS if '_r2n' in path.name]
EXAMPLES = ['upernet_r2n50_ade20k.py']  # straight on a toolbox's config: no twin, no hook
NO_TWIN = [*EXAMPLES, 'imagenet_r2n50_26w4s_299.py']  # the paper compares this one with InceptionV3
TWINS = {  # whose names are no rule
    'imagenet_r2nx50_8c4w4s.py': 'imagenet_rx50_32x4d.py',
    'imagenet_dla60_r2n.py': 'imagenet_dla60.py',
    'imagenet_dla60_r2nx.py': 'imagenet_dla60x.py',
    'cifar10_narrow_r2nx29_2c24w4s.py': 'cifar10_narrow_rx29_3c48w.py',
    'cifar10_narrow_r2nx29_2c24w4s_se.py': 'cifar10_narrow_rx29_3c48w_se.py',
}
MMDETS_TWINS = {  # mmdet's own recipes
    'faster_rcnn_r2n101_v1b_coco.py': 'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    'mask_rcnn_r2n101_v1b_coco.py': 'mmdet::mask_rcnn/mask-rcnn_r101_fpn_2x_coco.py',
    'cascade_rcnn_r2n101_v1b_coco.py': 'mmdet::cascade_rcnn/cascade-rcnn_r101_fpn_20e_coco.py',
    'cascade_mask_rcnn_r2n101_v1b_coco.py': 'mmdet::cascade_rcnn/cascade-mask-rcnn_r101_fpn_20e_coco.py',
    'htc_r2n101_v1b_coco.py': 'mmdet::htc/htc_r101_fpn_20e_coco.py',
    'vfnet_r2n101_v1b_coco.py': 'mmdet::vfnet/vfnet_r101_fpn_ms-2x_coco.py',
    'vfnet_r2n101_v1b_mdconv_coco.py': 'mmdet::vfnet/vfnet_r101-mdconv-c3-c5_fpn_ms-2x_coco.py',
}
HEADLINES = ['top1_err', 'voc_map', 'miou', 'mask_ap']  # of a row of the paper: what a README has of it
FRONT_DOORS = ['deeplabv3plus_r2n50_voc12aug.py', 'faster_rcnn_r2n50_coco.py', 'mask_rcnn_r2n50_coco.py',
               'simplebaseline_r2n50_coco.py']
METAFILES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
# What makes a backbone another one of the same kind.
VARIANT = {'type', 'init_cfg', 'arch', 'scales', 'base_width', 'groups'}
FAMILIES = ['faster_rcnn_r2n50', 'faster_rcnn_c4_r2n50_voc07', 'mask_rcnn_r2n50_14w8s', 'demo_faster_rcnn']


def name(path):
    return path.relative_to(CONFIGS).as_posix()


@pytest.mark.parametrize('path', LEAVES, ids=name)
def test_opens_with_its_command(path):
    header = ast.get_docstring(ast.parse(path.read_text()))
    assert f'tools/train.py configs/{name(path)}' in header or 'make demo' in header
    assert 'aper' in header  # the paper's number, or that it has none


@pytest.mark.parametrize('path', EXPERIMENTS, ids=name)
def test_is_short(path):
    assert len(path.read_text().splitlines()) <= 15


def test_names_are_unique():
    """So that a name alone finds a config, here and with mim, which searches the whole package."""
    names = Counter(path.name for folder in (CONFIGS, ROOT / 'res2net_mm') for path in folder.rglob('*.py')
                    if '.mim' not in path.parts)
    assert [path.name for path in LEAVES if names[path.name] > 1] == []


def test_front_doors_lie_on_top():
    assert sorted(path.name for path in CONFIGS.glob('*.py')) == FRONT_DOORS


load_once = lru_cache(maxsize=None)(load)


@pytest.mark.slow
@pytest.mark.parametrize('path', LEAVES, ids=name)
def test_plain_mmengine_reads_the_same(path, monkeypatch):
    monkeypatch.setattr('mmengine.config.utils.load', load_once)  # all metafiles of a toolbox for each of its bases
    plain, ours = Config.fromfile(path), load_config(path)
    assert ours.to_dict() == plain.to_dict()
    assert (ours.text, ours.filename, type(ours)) == (plain.text, plain.filename, Config)


def test_the_model_index_lists_every_experiment():
    index = [yaml.safe_load((ROOT / path).read_text()) for path in METAFILES]
    models = [model for metafile in index for model in metafile['Models']]
    assert sorted(model['Config'] for model in models) == sorted(f'configs/{name(path)}' for path in EXPERIMENTS)
    assert all(model['Name'] == Path(model['Config']).stem for model in models)
    for metafile in index:
        collections = {row['Name'] for row in metafile['Collections']}
        assert {model['In Collection'] for model in metafile['Models']} == collections
        assert all((ROOT / row['README']).is_file() for row in metafile['Collections'])


@pytest.mark.parametrize('metafile', METAFILES)
def test_the_readme_of_a_folder_has_a_row_for_each_config(metafile):
    folder = (ROOT / metafile).parent
    rows = re.findall(r'(?m)^\| \[(\S+)\]\((\S+)\) \|.*\|$', (folder / 'README.md').read_text())
    listed = {(folder / link).resolve() for _, link in rows}
    models = yaml.safe_load((ROOT / metafile).read_text())['Models']
    assert listed == {ROOT / model['Config'] for model in models} | set(folder.glob('*.py'))
    assert all(name == Path(link).name for name, link in rows) and len(rows) == len(listed)


def test_the_folders_readmes_have_the_papers_numbers():
    pages = ' '.join(path.read_text() for path in CONFIGS.glob('*/README.md'))
    for table in paper.read_tables().values():
        for row in table.rows.values():
            metric = next((metric for metric in HEADLINES if metric in row.paper.get(None, {})), None)
            if row.config and metric and not row.changes:
                number = row.paper[None][metric]
                shown = re.search(rf'\[{row.config}\].*', pages)[0]
                assert re.search(rf' {number:.1f}[ ,|]| {number:.2f} ', shown), shown


@pytest.mark.slow
@pytest.mark.parametrize('path', LEAVES, ids=name)
def test_builds(path):
    cfg = load_config(path)
    pytest.importorskip(cfg.default_scope)
    init_default_scope(cfg.default_scope)
    # mmpretrain's ResNet asks a tensor for its value while it is built.
    with torch.device('cpu' if (cfg.default_scope, cfg.model.backbone.type) == ('mmpretrain', 'ResNet') else 'meta'):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__module__.startswith('res2net_mm.') >= ('r2n' in path.name)
    if path.name in EXAMPLES:
        return
    assert 'res2net_mm.StopAtInvalidLoss' in [hook.type for hook in cfg.custom_hooks]


@pytest.mark.slow
@pytest.mark.parametrize('path', [
    path for path in LEAVES if path.parent.name != 'overfit' and path.name.startswith(tuple(FAMILIES))], ids=name)
def test_trains_a_step(path):
    cfg = load_config(path)
    pytest.importorskip(cfg.default_scope)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    data = model.data_preprocessor(batch(cfg), training=True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)


def batch(cfg):
    """Two small random samples as the pipeline of a config would pack them."""
    if cfg.default_scope == 'mmdet':
        from mmdet.testing import demo_mm_inputs
        head = cfg.model.roi_head.bbox_head
        classes = (head[0] if isinstance(head, list) else head).num_classes
        return demo_mm_inputs(
            2, [[3, 64, 64], [3, 64, 96]], num_items=[2, 1], num_classes=classes,
            with_mask='mask_head' in cfg.model.roi_head)
    raise AssertionError(cfg.default_scope)


def twin(path):
    """The name of the ResNet config that a config of ours is to be compared with."""
    if path.name in MMDETS_TWINS:
        return MMDETS_TWINS[path.name]
    renamed = re.sub(r'_r2n(\d+)(_\d+w\d+s)?', r'_r\1', path.name).replace('_v1b', '_v1d')
    renamed = re.sub(r'_r2nx29_\d+c\d+w\d+s', '_rx29_8c64w', renamed)
    return str(config_path(TWINS.get(path.name, renamed)))


def without_scopes(value):
    """Without the notes that mmengine makes of the package that a setting came from."""
    if isinstance(value, dict):
        return {key: without_scopes(item) for key, item in value.items() if key != '_scope_'}
    return [without_scopes(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('path', [path for path in OURS if path.name not in NO_TWIN], ids=name)
def test_twins_differ_in_the_backbone_alone(path):
    ours, theirs = (without_scopes(load_config(config).to_dict()) for config in (path, twin(path)))
    pairs = [(ours['model'].pop('backbone'), theirs['model'].pop('backbone'))]
    if '_c4_' in path.name:  # there the backbone's last stage is a part of the head
        pairs.append(tuple(cfg['model']['roi_head'].pop('shared_head') for cfg in (ours, theirs)))
        for variable in ('norm_cfg', 'pretrained'):
            ours.pop(variable), theirs.pop(variable, None)
    if 'mmdet::' in twin(path):
        ours.pop('custom_hooks')
    assert ours == theirs
    for our, their in pairs:
        shared = our.keys() & their.keys() - VARIANT
        assert {key: our[key] for key in shared} == {key: their[key] for key in shared}
        assert our.keys() - their.keys() <= VARIANT | {'stage_pool'}


@pytest.mark.slow
@pytest.mark.parametrize('path', [path for path in OURS if path.name in MMDETS_TWINS], ids=name)
def test_takes_mmdets_published_detectors(path):
    """Their keys are those of mmdet's own config; the function is compared in test_published_detector_function."""
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    base = ast.literal_eval(re.search(r'_base_ = (.*)', path.read_text())[1])
    with torch.device('meta'):
        ours, theirs = (MODELS.build(load_config(config).model).state_dict() for config in (path, base))
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}


@pytest.mark.slow
@pytest.mark.parametrize('ours, theirs', [
    ('cascade_rcnn_r2n101_v1b_coco.py', 'mmdet::res2net/cascade-rcnn_res2net-101_fpn_20e_coco.py'),
    ('vfnet_r2n101_v1b_mdconv_coco.py', 'mmdet::vfnet/vfnet_res2net101-mdconv-c3-c5_fpn_ms-2x_coco.py')])
def test_published_detector_function(ours, theirs):
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    ours, theirs = load_config(config_path(ours)).model, load_config(theirs).model
    theirs, ours = (randomise(MODELS.build(dict(cfg.backbone, init_cfg=None))) for cfg in (theirs, ours))
    ours.load_state_dict(theirs.state_dict())
    ours.train(False), theirs.train(False)
    x = torch.randn(1, 3, 64, 64)
    for our, their in zip(ours(x), theirs(x)):
        assert relative_error(our, their) < 1e-5


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg', 'mmpose', 'mmpretrain'])
def test_builds_in_every_toolbox_without_custom_imports(toolbox):
    registry = pytest.importorskip(f'{toolbox}.registry')
    init_default_scope(toolbox)
    built = registry.MODELS.build(dict(type='res2net_mm.Res2Net', depth=26, base_channels=16))
    assert type(built).__module__ == 'res2net_mm.models.backbones.res2net'
