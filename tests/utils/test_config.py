"""Finding and reading configs: ours, those of every toolbox, and a user's own that are based on them."""
import copy
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import CONFIGS, LEAVES, TOOLS, config_path
from mmengine.config import Config

from res2net_mm.utils import config as config_module
from res2net_mm.utils.config import find_config, load_config, packaged_configs, tool_path


# Where files lie.
@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_a_name_finds_a_config_in_any_folder(path):
    within = path.relative_to(CONFIGS).as_posix()
    assert find_config(path.name).resolve() == find_config(within).resolve() == path


def test_bases_are_found_by_their_path_alone():
    assert find_config('_base_/fsdp.py').resolve() == CONFIGS / '_base_' / 'fsdp.py'
    with pytest.raises(FileNotFoundError, match='fsdp.py does not exist'):
        find_config('fsdp.py')


def test_a_path_of_ones_own_is_taken_as_it_is(tmp_path):
    (tmp_path / 'mine.py').touch()
    assert find_config(str(tmp_path / 'mine.py')) == tmp_path / 'mine.py'


@pytest.mark.parametrize('tool', ['train.py', 'dist_train.sh', 'reproduce.py'])
def test_tools(tool):
    assert tool_path(tool).resolve() == next(TOOLS.rglob(tool)).resolve()
    assert tool_path('nosuch.py').name == 'nosuch.py' and not tool_path('nosuch.py').exists()


@pytest.mark.parametrize('folder', ['package/.mim/configs', 'configs'])
def test_configs_of_an_installed_package_and_beside_a_checkout(folder, tmp_path, monkeypatch):
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / '__init__.py').touch()
    for task in ('one', 'other'):
        (tmp_path / folder / task).mkdir(parents=True)
        (tmp_path / folder / task / f'{task}.py').touch()
        (tmp_path / folder / task / 'both.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert packaged_configs('package') == tmp_path / folder
    assert find_config('one.py', 'package') == tmp_path / folder / 'one' / 'one.py'
    with pytest.raises(FileNotFoundError, match='there are several, one/both.py, other/both.py'):
        find_config('both.py', 'package')
    with pytest.raises(FileNotFoundError, match='did you mean other/other.py'):
        find_config('othr.py', 'package')


def test_a_package_without_configs(tmp_path, monkeypatch):
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"config 'package::a.py': .*a.py does not exist$"):
        load_config('package::a.py')


# Configs of a user's own.
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


@pytest.mark.parametrize('base', ['faster_rcnn_r50_coco.py', 'detection/faster_rcnn_r50_coco.py'])
def test_a_base_in_a_folder(base, tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = 'res2net_mm::{base}'\n")
    expected = load_config(config_path('faster_rcnn_r50_coco.py')).to_dict()
    assert load_config(mine).to_dict() == load_config(f'res2net_mm::{base}').to_dict() == expected


def test_bases_of_bases(tmp_path, monkeypatch):
    """Lists of bases, bases that name bases, and what mmengine substitutes in a file."""
    (tmp_path / 'base.py').write_text("_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'\nepochs = 3\n")
    mine = tmp_path / 'mine.py'
    mine.write_text("""
_base_ = ['./base.py', 'res2net_mm::_base_/fsdp.py']
train_cfg = dict(max_epochs={{_base_.epochs}})
work_dir = '{{$RUNS:runs}}/{{fileBasenameNoExtension}}'
""")
    monkeypatch.setenv('RUNS', 'elsewhere')
    cfg = load_config(str(mine))
    assert cfg.train_cfg.max_epochs == 3 and cfg.strategy.type == 'res2net_mm.FSDPStrategy'
    assert cfg.work_dir == 'elsewhere/mine' and cfg.filename == str(mine) and cfg.env_variables == {'RUNS': 'elsewhere'}
    assert cfg.text.count("_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'") == 1
    assert type(cfg) is type(copy.deepcopy(cfg)) is Config


def test_python_style_configs(tmp_path):
    """mmengine's configs that import their bases."""
    base = 'from mmengine.optim import OptimWrapper\nwrapper = dict(type=OptimWrapper)\n'
    (tmp_path / 'base.py').write_text(base)
    mine = tmp_path / 'mine.py'
    mine.write_text("""from mmengine.config import read_base

with read_base():
    from .base import *

epochs = 3
""")
    ours, plain = load_config(mine), Config.fromfile(mine)
    assert ours.to_dict() == plain.to_dict() and ours.epochs == 3 and type(ours) is Config
    assert ours.wrapper.type.__name__ == 'OptimWrapper'


@pytest.mark.parametrize('file', ['faster_rcnn_r2n50_coco.py', 'detection/faster_rcnn_r50_coco.py'])
def test_plain_mmengine_knows_no_package_of_ours(file, tmp_path):
    """It takes the path of the file instead. If this fails, load_config's docstring says too little of mmengine."""
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = 'res2net_mm::{file}'\n")
    with pytest.raises((ValueError, AssertionError), match='res2net_mm|package'):
        Config.fromfile(mine)
    mine.write_text(f"_base_ = '{find_config(file)}'\n")
    assert Config.fromfile(mine).to_dict() == load_config(f'res2net_mm::{file}').to_dict()


@pytest.mark.parametrize('base, message', [
    ('res2net_mm::faster_rcnn_r2n_coco.py', 'did you mean faster_rcnn_r2n50_coco.py'),
    ('res2net_mm::pose/faster_rcnn_r50_coc.py', 'did you mean detection/faster_rcnn_r50_coco.py'),
    ('nosuchpackage::a.py', "config 'nosuchpackage::a.py': the package 'nosuchpackage' is not installed"),
    ('::a.py', "config '::a.py': the package '' is not installed"),
])
def test_unknown_base(base, message, tmp_path):
    mine = tmp_path / 'mine.py'
    mine.write_text(f"_base_ = '{base}'\n")
    with pytest.raises((FileNotFoundError, ModuleNotFoundError), match=message):
        load_config(mine)


def test_a_file_that_does_not_exist():
    message = "config 'configs/faster_rcnn_r50_coco.py' does not exist; did you mean detection/faster_rcnn_r50_coco.py"
    with pytest.raises(FileNotFoundError, match=message):
        load_config('configs/faster_rcnn_r50_coco.py')


# What reading leaves behind: nothing.
def test_threads_read_and_leave_mmengine_as_it_is(tmp_path):
    for i in range(4):
        (tmp_path / f'{i}.py').write_text(f"_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'\nnumber = {i}\n")
    members = dict(vars(Config))
    barrier, changed, numbers = threading.Barrier(4), set(), []

    def read(i):
        barrier.wait()
        for _ in range(4):
            numbers.append(load_config(tmp_path / f'{i}.py').number)
            changed.update(name for name, member in vars(Config).items() if member is not members[name])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(read, range(4)))  # raises what a thread raised
    assert sorted(numbers) == sorted(4 * [0, 1, 2, 3])
    assert changed == set() and vars(Config) == members


def test_of_threads_one_reads_at_a_time(tmp_path, monkeypatch):
    (tmp_path / 'a.py').write_text('a = 1\n')
    reading, most = [], []

    def fromfile(path):
        reading.append(path)
        time.sleep(0.02)
        most.append(len(reading))
        reading.remove(path)

    monkeypatch.setattr(config_module._Reader, 'fromfile', staticmethod(fromfile))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(load_config, [tmp_path / 'a.py'] * 8))
    assert most == [1] * 8
