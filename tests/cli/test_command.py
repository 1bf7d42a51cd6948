"""How commands end, and the device that they run on."""
import argparse
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import ROOT
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from res2net_mm.cli.command import run_command, run_tool
from res2net_mm.cli.device import torch_device
from res2net_mm.datasets.checks import BadDataError
from res2net_mm.utils.errors import UserError


def failing(error):
    def run(*_):
        raise error
    return run


class BadDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise BadDataError('bad.png: cut off')


def test_a_user_error_becomes_a_message(monkeypatch):
    monkeypatch.setattr('sys.argv', ['/somewhere/train.py'])
    with pytest.raises(SystemExit) as stop:
        run_command(failing(UserError('--amp: no')))
    assert stop.value.code == 'train.py: error: --amp: no'


def test_an_error_of_a_process_that_loads_data_comes_without_its_traceback(monkeypatch):
    monkeypatch.setattr('sys.argv', ['train.py'])
    with pytest.raises(SystemExit) as stop:
        run_command(list, DataLoader(BadDataset(), num_workers=1))
    assert stop.value.code == 'train.py: error: bad.png: cut off'


@pytest.mark.parametrize('error', [OSError('no file'), ValueError('no number'), ModuleNotFoundError('no package')])
def test_a_tool_reports_more_than_a_command(error):
    args = argparse.Namespace(device='cpu')
    with pytest.raises(SystemExit, match=str(error)):
        run_tool(failing(error), args)
    with pytest.raises(type(error)):
        run_command(failing(error))
    with pytest.raises(RuntimeError):
        run_tool(failing(RuntimeError('a bug')), args)


HEADS = Registry('heads of this test')


class AnyHead:
    def __init__(self, num_classes=80):
        self.num_classes = num_classes


@HEADS.register_module()
class LinearHead(AnyHead):
    def __init__(self, channels=8, **kwargs):
        super().__init__(**kwargs)


@HEADS.register_module()
class BrokenHead:
    def __init__(self, channels=8):
        AnyHead(classes=channels)


@pytest.mark.parametrize('build, config, message', [
    (HEADS.build, dict(type='LinearHead', num_clases=3), r'LinearHead .*: num_clases=3: did you mean num_classes\?'),
    (HEADS.build, dict(type='LinearHead', radix=3), r'LinearHead .*: radix=3\. It takes channels, num_classes'),
    (lambda loop: Runner.build_train_loop(SimpleNamespace(_train_dataloader=None), loop),
     dict(by_epoch=True, max_iters=4), 'EpochBasedTrainLoop .*: max_iters=4: did you mean max_epochs'),
    (lambda loop: Runner.build_train_loop(SimpleNamespace(_train_dataloader=None), loop),
     dict(type='IterBasedTrainLoop', max_epochs=4), 'IterBasedTrainLoop .*: max_epochs=4: did you mean max_iters'),
], ids=['head', 'nothing near', 'epochs', 'iterations'])
def test_an_argument_that_a_class_of_the_config_does_not_take(build, config, message):
    with pytest.raises(SystemExit, match=message):
        run_command(build, config)


def test_a_wrong_call_within_a_class_of_the_config_keeps_its_traceback():
    with pytest.raises(TypeError, match='classes'):
        run_command(HEADS.build, dict(type='BrokenHead', channels=3))


def test_a_tool_gets_its_device(monkeypatch):
    devices = []
    run_tool(lambda args, device: devices.append(device), argparse.Namespace(device='cpu'))
    assert devices == [torch.device('cpu')]
    monkeypatch.setattr('torch.cuda', SimpleNamespace(device_count=lambda: 2, is_available=lambda: True))
    assert torch_device(None) == torch.device('cuda') and torch_device('cuda:1') == torch.device('cuda:1')
    for name, message in (('cuda:2', 'no such CUDA device'), ('gpu', 'must be cpu'), ('cpu:0', 'must be cpu'),
                          ('cuda:', 'must be cpu'), ('cuda:-1', 'must be cpu'), ('cuda:²', 'must be cpu')):
        with pytest.raises(UserError, match=message):
            torch_device(name)


# One GPU can be seen wherever the variable names some; no torch is needed for that.
CHOOSE = """
import os, sys
from types import SimpleNamespace
shown = lambda: os.environ.get('CUDA_VISIBLE_DEVICES', 'all')
sys.modules['torch'] = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: bool(shown())), device=str)
from res2net_mm.cli.device import choose_device
for name in sys.argv[1:]:
    choose_device(name)
print(shown())
"""


def visible_after(visible, *names):
    """What CUDA shows after commands with --device, in a process that was started with a list; or the last error."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    env.pop('CUDA_VISIBLE_DEVICES', None)
    if visible is not None:
        env['CUDA_VISIBLE_DEVICES'] = visible
    result = subprocess.run([sys.executable, '-c', CHOOSE, *names], env=env, capture_output=True, text=True)
    return result.stderr.splitlines()[-1] if result.returncode else result.stdout.strip()


@pytest.mark.parametrize('visible, name, wanted', [
    ('2,3', 'cuda:0', '2'),
    ('2,3', 'cuda:1', '3'),
    ('2,3', 'cuda:01', '3'),
    (' 2, 3 ', 'cuda:1', '3'),
    ('2,3', 'cuda', '2,3'),
    ('2,3', 'cpu', ''),
    (None, 'cuda:1', '1'),
    ('GPU-8932f937,GPU-0a1b2c3d', 'cuda:1', 'GPU-0a1b2c3d'),
    ('MIG-GPU-8932f937/1/2,MIG-0a1b2c3d', 'cuda:0', 'MIG-GPU-8932f937/1/2'),
])
def test_a_device_among_the_visible_ones(visible, name, wanted):
    assert visible_after(visible, name) == wanted
    assert visible_after(visible, name, name) == wanted  # two commands in one process


@pytest.mark.parametrize('visible, name, shown', [
    ('2,3', 'cuda:2', '2, 3'),
    ('2', 'cuda:1', '2'),
    ('2,-1,3', 'cuda:1', '2'),
    ('2,,3', 'cuda:1', '2'),
    ('', 'cuda:0', 'none'),
    ('', 'cuda', 'none'),
    ('GPU-8932f937', 'cuda:1', 'GPU-8932f937'),
])
def test_a_device_beyond_the_visible_ones(visible, name, shown):
    assert visible_after(visible, name).endswith(
        f'UserError: --device {name}: no such CUDA device: CUDA_VISIBLE_DEVICES shows {shown}; use --device cpu')
