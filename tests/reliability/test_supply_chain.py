"""What the environment is made of: hashes that are checked, licences that are known, and no network where none is due.

That building the wheel needs no network is seen where it is built, in tests/test_package.py.
"""
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile

import pytest
from helpers import ROOT, TOOLS, without_network

LOCKED = ROOT / 'requirements' / 'locked.py'


def locked(*arguments):
    return subprocess.run([sys.executable, LOCKED, *arguments], capture_output=True, text=True)


def test_every_package_of_the_lock_has_hashes():
    entries = locked().stdout.replace('\\\n', '').splitlines()
    assert len(entries) > 100
    assert all(re.fullmatch(r'[a-z0-9.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+', entry) for entry in entries)
    only = locked('--only', 'xtcocotools', 'uv').stdout
    assert re.findall(r'^\S+(?===)', only, re.MULTILINE) == ['xtcocotools', 'uv']
    assert 'onedl-mmcv' not in locked('--without', 'onedl-mmcv').stdout


def test_a_lock_that_lacks_a_hash_or_a_package(tmp_path):
    (tmp_path / 'lock.txt').write_text('a==1 \\\n    --hash=sha256:12\nb==2\n    # via a\n')
    result = locked('--lock', tmp_path / 'lock.txt')
    assert result.returncode == 1 and 'no hash of b==2' in result.stderr and not result.stdout
    assert 'has no left-pad' in locked('--only', 'left-pad').stderr


def test_wheels_of_ones_own(tmp_path):
    for name in ('onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl', 'onedl_mmcv-2.3.5-py3-none-any.whl',
                 'other-1-py3-none-any.whl'):
        (tmp_path / name).write_text(name)
    own = '--hash=sha256:' + hashlib.sha256(b'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl').hexdigest()
    plain, result = locked('--only', 'onedl-mmcv'), locked('--only', 'onedl-mmcv', '--wheels', tmp_path)
    assert result.stdout.split() == [*plain.stdout.split(), '\\', own]
    assert 'linux_x86_64.whl' in result.stderr and 'Trusted' in result.stderr and '2.3.5' not in result.stderr


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12)), reason='the lock is for 3.11 and 3.12')
def test_a_package_with_another_hash_is_not_installed(tmp_path):
    """The first that is fetched: uv. Somebody has put another file of its name where pip finds it."""
    for part in ('tools/dev', 'requirements'):
        shutil.copytree(ROOT / part, tmp_path / part)
    version = re.search(r'uv(?:==|_version=)([\d.]+)', (ROOT / 'requirements/lock.txt').read_text()
                        + (TOOLS / 'dev/setup_env.sh').read_text())[1]
    wheel(tmp_path / 'index', 'uv', version)
    python = tmp_path / 'venv/bin/python'
    python.parent.mkdir(parents=True)  # no environment is made, and nothing is installed in that of the tests
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, 'PIP_FIND_LINKS': str(tmp_path / 'index'), 'UV_OFFLINE': '1', 'UV_FIND_LINKS': '',
           'PIP_TARGET': str(tmp_path / 'installed')}
    result = subprocess.run([tmp_path / 'tools/dev/setup_env.sh', tmp_path / 'venv', sys.executable], env=env,
                            capture_output=True, text=True)
    assert result.returncode != 0
    assert 'DO NOT MATCH THE HASHES' in result.stderr, result.stderr
    assert not list(tmp_path.rglob('hostile.py'))


def wheel(folder, name, version):
    """A wheel with one module, hostile.py."""
    folder.mkdir()
    info = f'{name}-{version}.dist-info'
    with zipfile.ZipFile(folder / f'{name}-{version}-py3-none-any.whl', 'w') as file:
        file.writestr('hostile.py', '')
        file.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        file.writestr(f'{info}/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        file.writestr(f'{info}/RECORD', '')


def test_licences_of_all_dependencies():
    result = subprocess.run([sys.executable, ROOT / 'requirements' / 'licences.py'], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-1000:]
    assert re.search(r'^numpy +\S+ +BSD', result.stdout, re.MULTILINE)


@pytest.mark.parametrize('licence, objection', [
    ('MIT', ''), ('MPL-2.0 AND MIT', ''), ('GNU Lesser General Public License v3 (LGPLv3)', ''), ('LGPL-2.1', ''),
    ('BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1', ''), ('LicenseRef-NVIDIA-Proprietary', ''),
    ('GPL-3.0-only', 'conflicts'), ('GNU General Public License v2 (GPLv2)', 'conflicts'), ('AGPL-3.0', 'conflicts'),
    ('MIT AND CC-BY-NC-4.0', 'conflicts'), ('SSPL-1.0', 'conflicts'), ('', 'not known'), ('My own', 'not known')])
def test_what_is_said_of_a_licence(licence, objection):
    said = runpy.run_path(str(ROOT / 'requirements' / 'licences.py'))['objection'](licence)
    assert objection in said if objection else not said


BUILD_ALL = """
import importlib, pkgutil, sys
import torch
import res2net_mm
from res2net_mm.models.names import ARCHITECTURES
from res2net_mm.registry import MODELS

def fail(name):
    raise
for module in pkgutil.walk_packages(res2net_mm.__path__, 'res2net_mm.', fail):
    importlib.import_module(module.name)
with torch.device('meta'):
    for row in ARCHITECTURES:
        MODELS.build(dict(type=row.type, **row.arguments))
print(len(sys.modules), len(ARCHITECTURES))
"""


@pytest.mark.slow
def test_importing_and_building_reach_no_network(tmp_path):
    env, tries = without_network(tmp_path)

    def run(code):
        return subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=env, capture_output=True, text=True)

    result = run(BUILD_ALL)
    assert result.returncode == 0, result.stderr
    assert not tries.read_text()
    # and it would be noticed, also where it is swallowed
    run('import contextlib, urllib.request\nwith contextlib.suppress(Exception): urllib.request.urlopen("http://a.b")')
    assert 'a.b' in tries.read_text()
    assert 'no network' in run('import socket; socket.create_connection(("127.0.0.1", 9))').stderr


@pytest.mark.slow
def test_a_source_archive_is_built_without_network(tmp_path):
    env, tries = without_network(tmp_path)
    result = subprocess.run([sys.executable, '-m', 'build', '--sdist', '--no-isolation', '--outdir', tmp_path, ROOT],
                            env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.glob('*.tar.gz')) and not tries.read_text()
