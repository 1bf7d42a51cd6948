"""Installing, importing and the doctor."""
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import LEAVES, without_network

from res2net_mm import doctor
from res2net_mm.cli.doctor import main as run_doctor
from res2net_mm.datasets.shapes import write_shapes

ROOT = Path(__file__).parents[1]


def python(code, arguments=(), **settings):
    return subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True, **settings)


def test_import_is_light():
    """Beyond mmengine's own import less than 0.2 s, and neither torch nor a toolbox."""
    result = python('import mmengine, time, sys; before = set(sys.modules); start = time.perf_counter(); '
                    'import res2net_mm; print(time.perf_counter() - start); '
                    'print({"torch", "mmcv", "mmdet"} & (set(sys.modules) - before))')
    seconds, imported = result.stdout.splitlines()
    assert float(seconds) < 0.2 and imported == 'set()'


def test_unknown_name():
    import res2net_mm
    with pytest.raises(AttributeError, match='Res3Net'):
        res2net_mm.Res3Net  # noqa: B018


def test_the_changelog_and_the_citation_name_the_same_release():
    """An unreleased version is at the top of the changelog without a date; the citation has the last release."""
    import res2net_mm
    heading = r'^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$'
    version, date = re.search(heading, (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), re.MULTILINE).groups()
    citation = dict(re.findall(r'^([\w-]+): (\S+)$', (ROOT / 'CITATION.cff').read_text(encoding='utf-8'), re.MULTILINE))
    assert (version, date) == (citation['version'], citation['date-released'])
    assert version == res2net_mm.__version__


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    env, tries = without_network(tmp_path_factory.mktemp('network'))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir',
                    folder, ROOT], check=True, capture_output=True, env=env)
    assert not tries.read_text()
    return next(folder.glob('*.whl'))


def project_files():
    """What git tracks, or would track if it were added, as paths within the project."""
    command = ['git', '-C', ROOT, 'ls-files', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a git repository')
    return [path for path in listed.stdout.splitlines() if (ROOT / path).is_file()]


@pytest.mark.slow
def test_wheel_holds_the_package_configs_tools_and_index_and_nothing_else(wheel):
    payload = ('configs/', 'demo/', 'tools/', 'model-index.yml')
    expected = {path if path.startswith('res2net_mm/') else f'res2net_mm/.mim/{path}'
                for path in project_files() if path.startswith(('res2net_mm/', *payload))}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if '.dist-info/' not in name} == expected
    for name in ('py.typed', 'reproduction/tables.yml', 'acceleration/training/weight_gradient.h',
                 '.mim/configs/detection/README.md', '.mim/configs/_base_/fsdp.py',
                 '.mim/demo/weights/demo_faster_rcnn_r2n26.safetensors', '.mim/demo/LICENSE-BCCD'):
        assert f'res2net_mm/{name}' in expected


@pytest.mark.slow
def test_the_source_archive_builds_the_same_wheel(wheel, tmp_path):
    pytest.importorskip('build')
    env, tries = without_network(tmp_path)
    subprocess.run([sys.executable, '-m', 'build', '--no-isolation', '--outdir', tmp_path, ROOT], check=True,
                   capture_output=True, env=env)
    built, = tmp_path.glob('*.whl')
    assert not tries.read_text()
    assert sorted(zipfile.ZipFile(built).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def environment(install, wheel, folder):
    """The environment of a process that has the wheel, this checkout installed, or the checkout as a mere folder."""
    env = {'PATH': '/usr/bin:/bin', 'HOME': str(folder)}
    if install == 'wheel':
        zipfile.ZipFile(wheel).extractall(folder / 'site')
        env['PYTHONPATH'] = str(folder / 'site')
    elif install == 'checkout':
        env['PYTHONPATH'] = str(ROOT)
    return env


@pytest.mark.slow
@pytest.mark.parametrize('install', ['wheel', 'editable', 'checkout'])
def test_a_config_of_ones_own_in_another_folder(install, wheel, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'res2net_mm::faster_rcnn_r2n50_coco.py'\nwork_dir = 'mine'\n")
    result = python('from res2net_mm import load_config; cfg = load_config("mine.py"); '
                    'print(cfg.work_dir, cfg.model.backbone.type)',
                    cwd=tmp_path, env=environment(install, wheel, tmp_path))
    assert result.stdout == 'mine res2net_mm.Res2Net\n', result.stderr


@pytest.mark.slow
@pytest.mark.parametrize('install', ['wheel', 'editable'])
def test_mim_from_another_folder(install, wheel, tmp_path):
    pytest.importorskip('mim')
    env = environment(install, wheel, tmp_path)

    def mim(*arguments):
        return subprocess.run([sys.executable, '-W', 'ignore', '-m', 'mim', *arguments], cwd=tmp_path, env=env,
                              capture_output=True, text=True)

    found = mim('search', 'res2net_mm', '--valid-config')
    assert 'faster_rcnn_r2n50_coco' in found.stdout, found.stdout + found.stderr
    # it gets as far as the tool's own check of the data, which is not there
    for config in ('faster_rcnn_r2n50_coco.py', 'faster_rcnn_r50_coco.py'):
        trained = mim('train', 'res2net_mm', config, '--data-root', 'nowhere')
        assert 'data that the config names does not exist' in trained.stderr, trained.stdout + trained.stderr
        used = 'site/res2net_mm' if install == 'wheel' else config
        assert used in trained.stdout


# The light environment of the extra ``core``: no toolbox, no torchvision, an mmcv without compiled operators.
LIGHT = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in absent or name == 'mmcv._ext':
            refused.append(name)
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

absent = 'mmdet', 'mmseg', 'mmpose', 'mmpretrain', 'torchvision', 'timm', 'matplotlib', 'safetensors', 'huggingface_hub'
refused = []
sys.meta_path.insert(0, Absent())
import torch, res2net_mm

tiny = dict(depth=26, base_channels=16)
model = res2net_mm.create('res2net50_v1b_26w4s', **tiny)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
sum(feature.square().mean() for feature in model(torch.rand(2, 3, 64, 64))).backward()
optimizer.step()
print(*(tuple(feature.shape[1:]) for feature in model(torch.rand(2, 3, 64, 64))), file=sys.stderr)

torch.save(model.state_dict(), 'mine.pth')
again = res2net_mm.create('res2net50_v1b_26w4s', init_cfg=dict(type='Pretrained', checkpoint='mine.pth'), **tiny)
assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
for name in 'dla60_res2net', 'bl_res2net50', 'res2net50_26w4s':
    res2net_mm.create(name)
assert not {'mmdet', 'mmseg', 'mmpose', 'mmpretrain', 'mmcv._ext', 'torchvision'} & set(refused), refused
try:
    res2net_mm.create('res2net50_26w4s', dcn=dict(type='DCNv2'), stage_with_dcn=(False, False, False, True))
except ValueError as error:
    assert 'mmcv.ops, where DCN and DCNv2 are, cannot be imported' in str(error), error
else:
    raise AssertionError('built without operators')
try:
    res2net_mm.create('se_res2net50_26w4s')
except ValueError as error:
    assert 'se_reduction=16 needs torchvision' in str(error), error
else:
    raise AssertionError('built without torchvision')
"""


@pytest.mark.slow
def test_create_needs_no_toolbox_and_says_no_more_than_it_must(tmp_path):
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = python(LIGHT, cwd=tmp_path, env=env)
    assert result.returncode == 0, result.stderr
    assert result.stderr == '(64, 16, 16) (128, 8, 8) (256, 4, 4) (512, 2, 2)\n'
    said = result.stdout.splitlines()  # of the file that was loaded, and nothing of single weights
    assert len(said) == 3 and 'recognised the weights as' in said[-1], result.stdout


# A checkout that is not installed: the files alone, with PYTHONPATH=. and no .mim.
@pytest.fixture(scope='module')
def bare_checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp('checkout')
    for path in project_files():
        if not path.startswith('docs/'):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, root / path)
    assert not (root / 'res2net_mm' / '.mim').exists()
    return root


def bare_environment():
    names = ('PATH', 'HOME', 'LANG', 'OMP_NUM_THREADS')
    return {**{name: os.environ[name] for name in names if name in os.environ}, 'PYTHONPATH': '.'}


def test_a_bare_checkout_finds_its_configs_tools_and_demo(bare_checkout):
    result = python("""
import json, sys
from res2net_mm import load_config
from res2net_mm.utils.config import demo_folder, find_config, tool_path
load_config('res2net_mm::dss_r2n50_msrab.py')
print(json.dumps([str(find_config(name)) for name in sys.argv[1:]] + [str(tool_path('train.py')), str(demo_folder())]))
""", arguments=[path.name for path in LEAVES], cwd=bare_checkout, env=bare_environment())
    expected = [str(bare_checkout / path.relative_to(ROOT)) for path in [
        *LEAVES, ROOT / 'tools' / 'train.py', ROOT / 'demo']]
    assert json.loads(result.stdout) == expected, result.stderr


@pytest.mark.slow
def test_a_bare_checkout_runs_the_gpu_check(bare_checkout, tmp_path):
    classes = pytest.importorskip('mmdet.datasets').CocoDataset.METAINFO['classes']
    write_shapes(tmp_path / 'coco', train=80, val=1, image_size=192)  # the config takes four of the first 79 images
    for path in (tmp_path / 'coco' / 'annotations').iterdir():
        content = json.loads(path.read_text())
        content['categories'] = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
        path.write_text(json.dumps(content))
    command = ['tools/gpu_check.sh', '--device', 'cpu', '--iterations', '1', '--data', tmp_path, '--out', tmp_path,
               '--parts', 'tasks', '--tasks', 'faster_rcnn_r2n50']
    result = subprocess.run(command, cwd=bare_checkout, env={**bare_environment(), 'PYTHON': sys.executable},
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads((tmp_path / 'gpu_check.json').read_text())
    assert report['runs'][0]['iterations'] == 1 and 'coco/bbox_mAP_50' in report['runs'][0]


# The doctor: the table of a healthy package, of one that is not installed, and of broken ones. Each row is a process of
# its own, so a package is broken here by a folder of the same name that comes first.
def shadow(folder, monkeypatch, **modules):
    for name, code in modules.items():
        (folder / name).mkdir()
        (folder / name / '__init__.py').write_text(code)
    monkeypatch.setenv('PYTHONPATH', str(folder))
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.slow
def test_doctor_names_what_is_broken_and_the_mend(tmp_path, monkeypatch, capsys):
    shadow(tmp_path, monkeypatch,
           xtcocotools='raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")')
    real = ('torch', 'numpy', 'opencv', 'mmengine', 'mmcv', 'mmpretrain', 'xtcocotools', 'mmpose')
    rows = [check for check in doctor.all_checks() if check.name in real]
    healthy = {check.name for check in doctor.all_checks()} - set(real)
    monkeypatch.setattr(doctor, 'all_checks', lambda: rows + [
        doctor.Check(name, 'sys', 'print("fine")', '') for name in sorted(healthy)])
    assert run_doctor() == 1
    said = capsys.readouterr().out
    assert 'xtcocotools   FAILED  ValueError: numpy.dtype size changed' in said
    assert '--no-binary xtcocotools xtcocotools==' in said
    assert 'pose          FAILS' in said and 'cls           ready' in said


def test_doctor_on_absent_toolboxes(monkeypatch, capsys):
    names = {'torch', 'numpy', 'opencv', 'mmengine', 'mmcv'}
    absent = [replace(check, module='no_such_module') for check in doctor.all_checks() if check.name not in names]
    present = [doctor.Check(name, 'sys', 'print("fine")', '') for name in sorted(names)]
    monkeypatch.setattr(doctor, 'all_checks', lambda: present + absent)
    assert run_doctor() == 0
    said = capsys.readouterr().out
    assert said.count('not installed') == len(absent) and "pip install 'res2net_mm[det]' adds it" in said

    assert '  core          ready' in said

    monkeypatch.setattr(doctor, 'all_checks', lambda: [
        doctor.Check(c.name, 'no_such_module', '', 'get it', required=c.name == 'torch') for c in present + absent])
    assert run_doctor() == 1
    assert 'torch         FAILED  not installed' in capsys.readouterr().out


@pytest.mark.parametrize(('built', 'toolbox', 'status'), [
    (False, False, 'absent'), (True, False, 'FAILED'), (False, True, 'FAILED')])
def test_doctor_misses_operators_only_where_something_needs_them(built, toolbox, status, tmp_path, monkeypatch):
    """An mmcv of pure Python is whole by itself; one whose operators do not load, or that a toolbox needs, is not."""
    shadow(tmp_path, monkeypatch, mmcv='', mmseg='')
    for name in ('mmcv', 'mmseg'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if built:
        (tmp_path / 'mmcv' / '_ext.so').touch()
    monkeypatch.setattr(doctor, 'NEED_OPERATORS', ('no_such_module', *(['mmseg'] if toolbox else [])))
    operators, = (check for check in doctor.all_checks() if check.name == 'mmcv._ext')
    assert doctor.run_check(replace(operators, code='import mmcv.ops')).status == status
