"""Installing, importing and the doctor."""
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import CONFIGS

from res2net_mm import doctor
from res2net_mm.cli.doctor import main as run_doctor

ROOT = Path(__file__).parents[1]


def python(code, **kwargs):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, **kwargs)


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


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--wheel-dir',
                    folder, ROOT], check=True, capture_output=True)
    return next(folder.glob('*.whl'))


def test_wheel_carries_configs_tools_and_index(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*CONFIGS.rglob('*.*'), *(ROOT / 'tools').rglob('*.*'), ROOT / 'model-index.yml']:
        if '__pycache__' not in str(path):
            assert f'res2net_mm/.mim/{path.relative_to(ROOT)}' in names
    assert 'res2net_mm/reproduction/tables.yml' in names


@pytest.mark.parametrize('install', ['wheel', 'editable'])
def test_mim_from_another_folder(install, wheel, tmp_path):
    pytest.importorskip('mim')
    env = {'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
    if install == 'wheel':
        zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
        env['PYTHONPATH'] = str(tmp_path / 'site')

    def mim(*arguments):
        return subprocess.run([sys.executable, '-W', 'ignore', '-m', 'mim', *arguments], cwd=tmp_path, env=env,
                              capture_output=True, text=True)

    found = mim('search', 'res2net_mm', '--valid-config')
    assert 'faster_rcnn_r2n50_coco' in found.stdout, found.stdout + found.stderr
    # it gets as far as the tool's own check of the data, which is not there
    trained = mim('train', 'res2net_mm', 'faster_rcnn_r2n50_coco.py', '--data-root', 'nowhere')
    assert 'data that the config names does not exist' in trained.stderr, trained.stdout + trained.stderr
    used = 'site/res2net_mm' if install == 'wheel' else 'configs/faster_rcnn_r2n50_coco.py'
    assert used in trained.stdout


# The doctor: the table of a healthy package, of one that is not installed, and of broken ones. Each row is a process of
# its own, so a package is broken here by a folder of the same name that comes first.
def shadow(folder, monkeypatch, **modules):
    for name, code in modules.items():
        (folder / name).mkdir()
        (folder / name / '__init__.py').write_text(code)
    monkeypatch.setenv('PYTHONPATH', str(folder))
    monkeypatch.syspath_prepend(str(folder))


def test_doctor_names_what_is_broken_and_the_mend(tmp_path, monkeypatch, capsys):
    shadow(tmp_path, monkeypatch,
           xtcocotools='raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")')
    real = ('torch', 'numpy', 'opencv', 'mmengine', 'mmcv', 'mmpretrain', 'xtcocotools', 'mmpose')
    rows = [check for check in doctor.all_checks() if check.name in real]
    healthy = {'mmcv._ext', 'mmdet', 'mmseg', 'torchvision', 'pysodmetrics', 'onnx', 'onnxruntime', 'CUDA'}
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

    monkeypatch.setattr(doctor, 'all_checks', lambda: [
        doctor.Check(c.name, 'no_such_module', '', 'get it', required=c.name == 'torch') for c in present + absent])
    assert run_doctor() == 1
    assert 'torch         FAILED  not installed' in capsys.readouterr().out
