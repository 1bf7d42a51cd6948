"""Payloads: nothing that a checkpoint holds is run, through whatever way it is read.

Each case has a folder of its own, and a payload that would make the folder ``canary`` in it. A refusal must be ours, so
that the file was read; where text is merely dropped, the weights must have been loaded.
"""
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CLASSIFIER, TOOLS, write_image
from hostile import Made
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch._tensor import _rebuild_from_type_v2

from res2net_mm import Res2Net
from res2net_mm.analysis.models import build_backbone
from res2net_mm.checkpoints import sources
from res2net_mm.checkpoints.convert import convert_file
from res2net_mm.checkpoints.files import install_reader, read_checkpoint, uninstall_reader
from res2net_mm.cli import convert_checkpoint
from res2net_mm.cli.runner import check_checkpoint
from res2net_mm.models import whole_model
from res2net_mm.models.pretrained import read_weights

SMALL = dict(depth=26, base_channels=8)
REFUSED = "is refused, and nothing of it was run|is in the .tar format of before PyTorch 0.2|NumPy array of type 'O8'"


class Toy(BaseModel):

    def __init__(self):
        super().__init__()
        self.backbone = Res2Net(**SMALL)

    def forward(self, inputs, mode='tensor'):
        raise NotImplementedError


# 1. Payloads.


def training_checkpoint():
    return dict(state_dict=Toy().state_dict(), meta=dict(epoch=1, iter=2),
                message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}))


def save_beside(payload, path, **how):
    torch.save({**training_checkpoint(), 'x': payload}, path, **how)


def code(canary):
    return f'import os\nos.mkdir({str(canary)!r})\n'


def write_pickle(path, canary):
    save_beside(Made(os.mkdir, str(canary)), path)


def write_legacy(path, canary):
    save_beside(Made(os.mkdir, str(canary)), path, _use_new_zipfile_serialization=False)


def write_plain(path, canary):
    path.write_bytes(pickle.dumps({'state_dict': {}, 'x': Made(os.mkdir, str(canary))}, 2))


def write_paddle(path, canary):
    """Beside arrays, as Paddle stores them."""
    arrays = {key: value.numpy() for key, value in Res2Net(**SMALL).state_dict().items()}
    path.write_bytes(pickle.dumps({**arrays, 'x': Made(os.mkdir, str(canary))}, 4))


def write_tar(path, canary):
    parts = dict(storages=(0, []), tensors=(0, ), pickle=({'state_dict': {}, 'x': Made(os.mkdir, str(canary))}, ))
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name, values in parts.items():
            info, content = tarfile.TarInfo(name), b''.join(pickle.dumps(value, 2) for value in values)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_hub(path, canary):
    checkpoint = training_checkpoint()
    checkpoint['message_hub']['runtime_info']['iter'] = Made(os.mkdir, str(canary))
    torch.save(checkpoint, path)


def write_array(path, canary):
    """In an array of objects."""
    save_beside(np.array([Made(os.mkdir, str(canary))], object), path)


def write_numpy(path, canary):
    """By a function of NumPy's that runs a text."""
    from numpy.testing import runstring
    save_beside(Made(runstring, code(canary), {}), path)


def write_getattr(path, canary):
    """With names alone that mmengine allows, under ``weights_only=True``: from a method to ``exec``."""

    def call(function, result, *arguments):
        return Made(_rebuild_from_type_v2, function, result, arguments, {})

    def item(owner, name, result):
        return call(Made(getattr, owner, '__getitem__'), result, name)

    function, nothing = Made(getattr, getattr, '__class__'), Made(getattr, None, '__class__')
    names = Made(getattr, Made(getattr, HistoryBuffer, '__init__'), '__globals__')
    run = item(item(names, '__builtins__', Made(getattr, {}, '__class__')), 'exec', function)
    save_beside(call(run, nothing, code(canary)), path)


def write_config(path, canary):
    checkpoint = training_checkpoint()
    checkpoint['meta']['config'] = checkpoint['meta']['cfg'] = code(canary)
    checkpoint['message_hub']['runtime_info']['cfg'] = code(canary)
    torch.save(checkpoint, path)


def unpickle(path):
    torch.load(path, weights_only=False)


def unpickle_as_mmengine_allows(path):
    with torch.serialization.safe_globals(mmengine_checkpoint.get_torch_safe_globals()):
        torch.load(path, weights_only=True)


def run_config(path):
    Config.fromstring(torch.load(path, weights_only=False)['meta']['config'], file_format='.py')


KINDS = {  # name: how it is written, and what runs it
    'pickle': (write_pickle, unpickle),
    'legacy': (write_legacy, unpickle),
    'plain': (write_plain, lambda path: pickle.loads(path.read_bytes())),
    'paddle': (write_paddle, lambda path: pickle.loads(path.read_bytes())),
    'tar': (write_tar, unpickle),
    'hub': (write_hub, unpickle),
    'array': (write_array, unpickle),
    'numpy': (write_numpy, unpickle),
    'getattr': (write_getattr, unpickle_as_mmengine_allows),
    'config': (write_config, run_config),
}

# 2. Ways to read a file; each gets its path and the address of its folder.


def by_init_cfg(path, address):
    """Our backbones need no reader in mmengine."""
    uninstall_reader()
    Res2Net(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone')).init_weights()


def by_init_cfg_from_address(path, address):
    by_init_cfg(f'{address}{path.name}', address)


def by_init_cfg_from_name(path, address, monkeypatch):
    monkeypatch.setattr(mmengine_checkpoint, 'get_torchvision_models', lambda: {'a': f'{address}{path.name}'})
    by_init_cfg('torchvision://a', address)


def by_load_checkpoint(path, address):
    """As mmengine's Runner does for ``load_from`` and for a test."""
    load_checkpoint(Toy(), str(path))


def by_address(path, address):
    by_load_checkpoint(f'{address}{path.name}', address)


def by_torchvision(path, address, monkeypatch, scheme='torchvision'):
    monkeypatch.setattr(mmengine_checkpoint, 'get_torchvision_models', lambda: {'a': f'{address}{path.name}'})
    by_load_checkpoint(f'{scheme}://a', address)


def by_openmmlab(path, address, monkeypatch, scheme='open-mmlab'):
    monkeypatch.setattr(mmengine_checkpoint, 'get_external_models', lambda: {'a': f'{address}{path.name}'})
    by_load_checkpoint(f'{scheme}://a', address)


def by_openmmlab_file(path, address, monkeypatch):
    monkeypatch.setattr(mmengine_checkpoint, 'get_external_models', lambda: {'a': str(path)})
    by_load_checkpoint('openmmlab://a', address)


def by_mmcls(path, address, monkeypatch):
    monkeypatch.setattr(mmengine_checkpoint, 'get_mmcls_models', lambda: {'a': f'{address}{path.name}'})
    load_checkpoint(Res2Net(**SMALL), 'mmcls://a')


def by_s3(path, address, monkeypatch, scheme='s3'):
    class Backend:
        get = staticmethod(lambda name: path.read_bytes())

    for module in (sources, mmengine_checkpoint):
        monkeypatch.setattr(module, 'get_file_backend', lambda name, backend_args: Backend)
    by_load_checkpoint(f'{scheme}://bucket/a.pth', address)


def by_runner(path, address, resume=False, newest=False):
    work_dir = path.parent / 'work_dir'
    work_dir.mkdir()
    if newest:
        path.rename(work_dir / 'epoch_1.pth')
        (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
        path = None
    runner = Runner(
        Toy(), str(work_dir), load_from=path and str(path), train_dataloader=dict(
            batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=[{}]),
        train_cfg=dict(by_epoch=True, max_epochs=9), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_scope='mmengine', experiment_name=work_dir.parent.name, log_level='ERROR', resume=resume)
    runner.load_or_resume()
    assert runner._has_loaded and runner.epoch == int(resume)


def by_name(path, address, monkeypatch):
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(path.parent))
    read_weights(f'res2net_mm://{path.stem}')


def by_convert(path, address):
    convert_checkpoint.main([str(path), str(path.with_name('b.pth')), '--to', 'res2net_mm'])
    converted = torch.load(path.with_name('b.pth'), weights_only=True)
    assert set(converted) == {'meta', 'state_dict'} and set(converted['meta']) == {'epoch', 'iter'}


def by_sheet(path, address):
    (path.parent / 'config.py').write_text(f"model = dict(backbone=dict(type='res2net_mm.Res2Net', **{SMALL}))\n")
    build_backbone(str(path.parent / 'config.py'), str(path))


ROUTES = {
    'Pretrained': by_init_cfg, 'Pretrained URL': by_init_cfg_from_address, 'Pretrained name': by_init_cfg_from_name,
    'load_from and test': by_load_checkpoint, 'URL': by_address, 'torchvision': by_torchvision,
    'modelzoo': partial(by_torchvision, scheme='modelzoo'), 'open-mmlab': by_openmmlab,
    'openmmlab': partial(by_openmmlab, scheme='openmmlab'), 'openmmlab file': by_openmmlab_file, 'mmcls': by_mmcls,
    's3': by_s3, 'petrel': partial(by_s3, scheme='b:petrel'), 'Runner load_from': by_runner,
    'Runner resume file': partial(by_runner, resume=True),
    'Runner resume newest': partial(by_runner, resume=True, newest=True),
    'res2net_mm://': by_name, 'convert': by_convert,
    'inspect': lambda path, address: convert_checkpoint.main(['--inspect', str(path)]),
    'check': lambda path, address: check_checkpoint(str(path)),
    'cam': lambda path, address: whole_model.load_weights(Toy(), 'config.py', str(path), None),
    'saliency sheet': by_sheet, 'reader': lambda path, address: read_checkpoint(path),
}
SHORT = {(route, 'pickle') for route in ROUTES} | {(route, kind) for kind in KINDS for route in (
    'Pretrained', 'load_from and test', 'Runner resume file', 'convert')}


class Quiet(SimpleHTTPRequestHandler):

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A local host for the files in the folder of the case; the cache is empty."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    host = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=host.serve_forever, args=(0.02, ), daemon=True).start()
    yield f'http://127.0.0.1:{host.server_port}/'
    host.shutdown()
    host.server_close()


@pytest.mark.parametrize(('route', 'kind'), [
    pytest.param(route, kind, marks=[] if (route, kind) in SHORT else pytest.mark.soak)
    for route in ROUTES for kind in KINDS])
def test_no_payload_runs(route, kind, tmp_path, address, monkeypatch):
    write, _ = KINDS[kind]
    canary = tmp_path / 'canary'
    write(tmp_path / 'a.pth', canary)
    install_reader()
    load = ROUTES[route]
    if 'monkeypatch' in getattr(load, 'func', load).__code__.co_varnames[:4]:
        load = partial(load, monkeypatch=monkeypatch)
    if kind == 'config':
        load(tmp_path / 'a.pth', address)
    else:
        with pytest.raises((Exception, SystemExit), match=REFUSED):
            load(tmp_path / 'a.pth', address)
    assert not canary.exists()


@pytest.mark.parametrize('kind', KINDS)
def test_the_payload_would_work(kind, tmp_path):
    """Or the tests above would prove nothing."""
    write, run = KINDS[kind]
    write(tmp_path / 'a.pth', tmp_path / 'canary')
    assert not (tmp_path / 'canary').exists()
    try:
        run(tmp_path / 'a.pth')
    except Exception as error:  # after the payload
        print(error)
    assert (tmp_path / 'canary').exists()


def test_pavi_is_refused():
    install_reader()
    with pytest.raises(ValueError, match='pavi:// is not supported; download the file'):
        load_checkpoint(Toy(), 'pavi://a')


def test_an_unknown_name_is_an_error():
    install_reader()
    with pytest.raises(ValueError, match='no weights of that name; did you mean torchvision://resnet50'):
        load_checkpoint(Toy(), 'torchvision://resnet500')


def test_a_trusted_file_is_read_freely_and_its_config_is_not(tmp_path):
    write_pickle(tmp_path / 'a.pth', tmp_path / 'canary')
    install_reader(trust=True)
    load_checkpoint(Toy(), str(tmp_path / 'a.pth'))
    assert (tmp_path / 'canary').exists()
    write_config(tmp_path / 'b.pth', tmp_path / 'other')
    by_runner(tmp_path / 'b.pth', '', resume=True)
    assert 'config' not in read_checkpoint(tmp_path / 'b.pth')['meta'] and not (tmp_path / 'other').exists()
    for end in (uninstall_reader, install_reader):
        install_reader(trust=True)
        end()
        with pytest.raises(ValueError, match=REFUSED):
            read_checkpoint(tmp_path / 'a.pth')


def test_texts_that_are_run_are_not_passed_on(tmp_path):
    """An inferencer of mmengine's that is given weights alone runs the config in them."""
    write_config(tmp_path / 'a.pth', tmp_path / 'canary')
    convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth', 'mmpretrain')
    assert 'canary' not in repr({key: value for key, value in torch.load(tmp_path / 'b.pth').items()
                                 if key != 'state_dict'})
    install_reader()
    from mmengine.runner.checkpoint import _load_checkpoint
    assert 'canary' not in repr({key: value for key, value in _load_checkpoint(str(tmp_path / 'a.pth')).items()
                                 if key != 'state_dict'})
    assert 'canary' in read_checkpoint(tmp_path / 'a.pth')['meta']['cfg']  # a text to look at


@pytest.mark.slow
@pytest.mark.parametrize('route', [('train.py', '--cfg-options', 'load_from={}'), ('train.py', '--resume', '{}')])
@pytest.mark.parametrize('kind', ['getattr', pytest.param('pickle', marks=pytest.mark.soak),
                                  pytest.param('legacy', marks=pytest.mark.soak)])
def test_commands(route, kind, tmp_path):
    KINDS[kind][0](tmp_path / 'a.pth', tmp_path / 'canary')
    (tmp_path / 'config.py').write_text(CLASSIFIER.split('custom_imports')[0])
    for name in 'ab':
        write_image(tmp_path / 'pictures' / name / '1.png', np.zeros((32, 32, 3), np.uint8))
    tool, *options = (part.format(tmp_path / 'a.pth') for part in route)
    result = subprocess.run(
        [sys.executable, TOOLS / tool, tmp_path / 'config.py', '--device', 'cpu', *options], cwd=tmp_path,
        capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(Path(TOOLS).parent)})
    assert result.returncode not in (0, None) and 'is refused, and nothing of it was run' in result.stderr
    assert not (tmp_path / 'canary').exists() and 'Traceback' not in result.stderr
