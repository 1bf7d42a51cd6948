"""What README.md and the pages of docs say exists, and the configs that they show build models."""
import re

import pytest
from helpers import ROOT
from mmengine.registry import MODELS, init_default_scope

from res2net_mm import load_config

PAGES = [ROOT / 'README.md', ROOT / 'README_zh-CN.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md')),
         *sorted((ROOT / 'docs' / 'tasks').glob('*.md')), *sorted((ROOT / 'docs' / 'zh_cn').glob('*.md')),
         *sorted((ROOT / 'configs').rglob('README.md'))]
FOLDERS = 'tools|configs|tests|docs|res2net_mm|requirements'
PATH = re.compile(rf'(?<![\w/.:{{}}<-])((?:{FOLDERS})/[\w./-]+\.(?:py|sh|md|yml|txt|cpp))')
LINK = re.compile(r'\]\((?!https?:|#)([^)#]+)')


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_paths_and_links_exist(page):
    text = page.read_text(encoding='utf-8')
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    missing += [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


def test_readme_fits_one_screen():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 80


@pytest.mark.parametrize('number', range(4), ids=['detection', 'instances', 'segmentation', 'keypoints'])
def test_configs_of_the_readme(number, tmp_path):
    """Each is five lines or fewer, is read from any folder, and builds its model with our backbone."""
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(encoding='utf-8'), re.DOTALL)
    assert len(blocks) == 4
    toolbox = ('mmdet', 'mmdet', 'mmseg', 'mmpose')[number]
    pytest.importorskip(f'{toolbox}.models')
    assert len(blocks[number].splitlines()) <= 5
    (tmp_path / 'mine.py').write_text(blocks[number], encoding='utf-8')
    cfg = load_config(tmp_path / 'mine.py')
    assert cfg.model.backbone.init_cfg.checkpoint.startswith('res2net_mm://')
    cfg.model.backbone.init_cfg = None
    init_default_scope(toolbox)
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__module__ == 'res2net_mm.models.backbones.res2net'
    if number == 1:
        assert len(model.backbone.layer3) == 23
    if number == 2:
        assert model.decode_head.num_classes == 3
    if number == 3:
        assert model.head.out_channels == 14


TASK_PAGES = dict(detection='mmdet', segmentation='mmseg', keypoints='mmpose', saliency='mmseg',
                  classification='mmpretrain')


@pytest.mark.parametrize('task', TASK_PAGES)
def test_configs_of_a_task_page(task, tmp_path):
    """A dataset of one's own and another backbone: both are read from any folder, and build their models."""
    pytest.importorskip(f'{TASK_PAGES[task]}.models')
    text = (ROOT / 'docs' / 'tasks' / f'{task}.md').read_text(encoding='utf-8')
    blocks = [block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if '_base_ =' in block]
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / 'mine.py').write_text(block, encoding='utf-8')
        cfg = load_config(tmp_path / 'mine.py')
        assert cfg.model.backbone.pop('init_cfg').checkpoint.startswith('res2net_mm://')
        init_default_scope(TASK_PAGES[task])
        assert type(MODELS.build(cfg.model).backbone).__module__.startswith('res2net_mm.models.backbones')


def test_publishing_page(tmp_path):
    """The commands have the arguments that they are shown with, and the configs are read, and build a backbone."""
    text = (ROOT / 'docs' / 'publish.md').read_text(encoding='utf-8')
    commands = re.findall(r'^    python tools/model_converters/(publish\.py .*?[^\\])$', text, re.DOTALL | re.MULTILINE)
    usage = (ROOT / 'res2net_mm' / 'cli' / 'publish.py').read_text(encoding='utf-8')
    assert len(commands) == 2
    assert all(f"'{option}'" in usage for option in re.findall(r'(?<![\w-])--[a-z-]+', ' '.join(commands)))
    blocks = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        (tmp_path / 'mine.py').write_text(block, encoding='utf-8')
        cfg = load_config(tmp_path / 'mine.py')
        source = cfg.get('load_from') or cfg.model.backbone.init_cfg.checkpoint
        assert source.endswith('NAME-DIGITS.safetensors')
        if 'model' in cfg:
            cfg.model.backbone.init_cfg = None
            assert len(MODELS.build(cfg.model.backbone).layer3) == 6
