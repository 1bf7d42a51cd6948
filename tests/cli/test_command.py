"""How commands end, and the device that they run on."""
import argparse
from types import SimpleNamespace

import pytest
import torch
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


def test_a_tool_gets_its_device(monkeypatch):
    devices = []
    run_tool(lambda args, device: devices.append(device), argparse.Namespace(device='cpu'))
    assert devices == [torch.device('cpu')]
    monkeypatch.setattr('torch.cuda', SimpleNamespace(device_count=lambda: 2, is_available=lambda: True))
    assert torch_device(None) == torch.device('cuda') and torch_device('cuda:1') == torch.device('cuda:1')
    for name, message in (('cuda:2', 'no such CUDA device'), ('gpu', 'must be cpu'), ('cpu:0', 'must be cpu')):
        with pytest.raises(UserError, match=message):
            torch_device(name)
