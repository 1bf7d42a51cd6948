"""Checkpoint files: the good ones load by every route, each kind of bad one has its own error and runs nothing."""
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from res2net_mm import Res2Net
from res2net_mm.checkpoints import loading as checkpoint
from res2net_mm.checkpoints.files import install_reader, read_checkpoint, uninstall_reader, write_checkpoint
from res2net_mm.cli import convert_checkpoint
from res2net_mm.cli.runner import check_checkpoint
from res2net_mm.utils.errors import UserError

TINY = dict(depth=26, base_channels=8, num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ))


@pytest.fixture
def state():
    return {key: torch.randn_like(value) if value.is_floating_point() else value
            for key, value in Res2Net(**TINY).state_dict().items()}


def by_init_cfg(path):
    model = Res2Net(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    return model


def by_load_checkpoint(path):
    model = Res2Net(**TINY)
    install_reader()  # as tools/train.py and tools/test.py do
    try:
        load_checkpoint(model, str(path))
    finally:
        uninstall_reader()
    return model


ROUTES = (by_init_cfg, by_load_checkpoint)


@pytest.mark.parametrize('load', ROUTES)
@pytest.mark.parametrize('name, wrapper', [
    *((name, wrapper) for name in ('a.pth', 'pytorch.safetensors', 'old.pt')
      for wrapper in (None, 'model', 'state_dict', 'state_dict_ema', 'module')),
    *((name, wrapper) for name in ('a.safetensors', 'safetensors.pth') for wrapper in (None, 'module')),
])
def test_good_files(load, name, wrapper, state, tmp_path, monkeypatch):
    stored = {f'module.{key}': value for key, value in state.items()} if wrapper == 'module' else state
    if wrapper not in (None, 'module'):
        stored = {wrapper: stored, 'epoch': 3}
    if name in ('a.safetensors', 'safetensors.pth'):
        write_checkpoint(stored, tmp_path / 'a.safetensors')
        (tmp_path / 'a.safetensors').rename(tmp_path / name)
    else:
        torch.save(stored, tmp_path / name, _use_new_zipfile_serialization=name != 'old.pt')
    log = []
    monkeypatch.setattr(checkpoint, 'print_log', lambda message, logger: log.append(message))
    model = load(tmp_path / name)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]) or key.endswith('num_batches_tracked'), key
    where = f", in '{wrapper}'" if wrapper in ('model', 'state_dict_ema') else ''  # mmengine itself opens the others
    assert log == [f'Res2Net-26 26w4s: recognised the weights as official, timm, mmpretrain or res2net_mm{where}']


def test_training_checkpoint_of_mmengine(state, tmp_path):
    """Beside the model mmengine stores logs and averages; its average is not what is loaded."""
    average = {f'module.backbone.{key}': value + 1 for key, value in state.items()}
    torch.save(dict(
        state_dict={**{f'backbone.{key}': value for key, value in state.items()}, 'head.fc.weight': torch.ones(2, 2)},
        ema_state_dict={'steps': torch.tensor(7), **average}, meta=dict(
            epoch=1, cfg='', seed=np.int64(3),
            dataset_meta=dict(sigmas=np.ones(17, 'float32'), colors=np.zeros((17, 3), 'uint8'))),  # mmpose's
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.5], [1])))), tmp_path / 'epoch_1.pth')
    model = by_load_checkpoint(tmp_path / 'epoch_1.pth')
    assert torch.equal(model.conv1.weight, state['conv1.weight'])

    torch.save({'ema_state_dict': {'steps': torch.tensor(7), **average}}, tmp_path / 'average.pth')
    model = by_init_cfg(tmp_path / 'average.pth')
    assert torch.equal(model.conv1.weight, state['conv1.weight'] + 1)


def test_two_backbones_must_be_told_apart(state, tmp_path):
    path = tmp_path / 'distilled.pth'
    torch.save({f'{name}.backbone.{key}': value + shift for name, shift in (('student', 0), ('teacher', 1))
                for key, value in state.items()}, path)
    with pytest.raises(ValueError, match='2 backbones, student.backbone., teacher.backbone.; name one.*prefix='):
        by_init_cfg(path)
    model = Res2Net(**TINY, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='teacher.backbone'))
    model.init_weights()
    assert torch.equal(model.conv1.weight, state['conv1.weight'] + 1)


class Payload:
    """What unpickling this runs would leave a file behind."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim), )


def cut(data):
    return data[:len(data) // 2]


def flipped(data):
    """One bit of a weight is another: torch.load alone does not notice."""
    place = data.index(b'\x00\x00\x80\x3f' * 16)
    return data[:place] + b'\x01' + data[place + 1:]


def zipped(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('word/document.xml', '<xml/>')


@pytest.fixture
def files(tmp_path):
    """Makes the bad files by name."""
    victim = tmp_path / 'victim'

    def saved(content, **how):
        torch.save(content, tmp_path / 'good', **how)
        return (tmp_path / 'good').read_bytes()

    ones = {'w': torch.ones(10000)}
    write_checkpoint(ones, tmp_path / 'good.safetensors')
    weights = (tmp_path / 'good.safetensors').read_bytes()
    old = dict(_use_new_zipfile_serialization=False)
    zipped(tmp_path / 'document')
    contents = {
        'empty': b'',
        'truncated': cut(saved(ones)),
        'truncated old format': cut(saved(ones, **old)),
        'barely begun old format': saved(ones, **old)[:30],
        'truncated safetensors': cut(weights),
        'safetensors without its header': weights[:20],
        'bit flip': flipped(saved(ones)),
        'text': b'loss: 0.3\nepoch: 7\n',
        'web page': b'\n<!DOCTYPE html><html>404</html>',
        'git lfs': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
        'gzip': b'\x1f\x8b\x08\x00' + bytes(50),
        'picture': b'\xff\xd8\xff\xe0\x00\x10JFIF' + bytes(50),
        'other archive': (tmp_path / 'document').read_bytes(),
        'no weights': saved({'epoch': 3, 'loss': 0.5}),
        'a list': saved([1, 2]),
        'payload': saved({'state_dict': Payload(victim)}),
        'payload old format': saved({'state_dict': Payload(victim)}, **old),
        'payload in plain pickle': pickle.dumps(Payload(victim)),
        'payload in plain pickle 2': pickle.dumps(Payload(victim), protocol=2),
        'payload in pickle 0': pickle.dumps(Payload(victim), protocol=0),
        'payload beside weights': saved({**ones, 'x': Payload(victim)}),
        'whole model': saved(torch.nn.Linear(2, 2)),
    }
    return victim, contents


BAD = {
    'empty': 'is empty',
    'truncated': 'truncated or damaged.*the end of the archive is missing',
    'truncated old format': 'truncated or damaged.*fetch it again',
    'barely begun old format': 'truncated or damaged',
    'truncated safetensors': 'truncated or damaged.*safetensors',
    'safetensors without its header': 'truncated or damaged.*safetensors',
    'bit flip': 'truncated or damaged.*checksum of good/data/0 is wrong',
    'text': "not a checkpoint: it is a text file that begins with b'loss",
    'web page': 'not a checkpoint: it is a web page',
    'git lfs': 'not a checkpoint: it is a Git LFS pointer.*git lfs pull',
    'gzip': 'not a checkpoint: it is compressed with gzip',
    'picture': 'not a checkpoint: it is of an unknown format',
    'other archive': 'not a checkpoint: it is a zip archive of something else.*word/document.xml',
    'no weights': 'holds no weights: only epoch, loss',
    'a list': 'holds no weights: it is a list',
    'payload': r'refused, and nothing of it was run.*would call posix.mkdir',
    'payload old format': r'refused, and nothing of it was run.*would call posix.mkdir',
    'payload in plain pickle': 'refused, and nothing of it was run',
    'payload in plain pickle 2': 'refused, and nothing of it was run',
    'payload in pickle 0': 'not a checkpoint: it is a text file',
    'payload beside weights': 'refused, and nothing of it was run',
    'whole model': 'refused, and nothing of it was run.*Linear.*state_dict',
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_files(kind, files, tmp_path, capsys):
    victim, contents = files
    path = tmp_path / f'{kind}.pth'
    path.write_bytes(contents[kind])
    with pytest.raises(ValueError, match=BAD[kind]) as caught:
        read_checkpoint(path)
    assert path.name in str(caught.value)
    for load in ROUTES:
        with pytest.raises(ValueError, match=BAD[kind]):
            load(path)
    with pytest.raises(SystemExit, match=BAD[kind]):
        convert_checkpoint.main(['--inspect', str(path)])
    with pytest.raises(UserError, match=BAD[kind]):
        check_checkpoint(str(path))
    assert not victim.exists()


def test_the_payload_would_work(files, tmp_path):
    """Or the tests above would prove nothing."""
    victim, contents = files
    (tmp_path / 'a.pth').write_bytes(contents['payload'])
    torch.load(tmp_path / 'a.pth', weights_only=False)
    assert victim.exists()


def test_program_is_not_a_checkpoint(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / 'a.pt')
    with pytest.raises(ValueError, match='not a checkpoint: it is a TorchScript program'):
        read_checkpoint(tmp_path / 'a.pt')


def test_missing_file_and_folder(tmp_path):
    for load in (read_checkpoint, *ROUTES):
        with pytest.raises(FileNotFoundError, match='no.pth. does not exist'):
            load(tmp_path / 'no.pth')
    with pytest.raises(ValueError, match='is a folder'):
        read_checkpoint(tmp_path)


def test_safetensors_is_not_needed_for_the_rest(state, tmp_path, monkeypatch):
    write_checkpoint(state, tmp_path / 'a.safetensors')
    write_checkpoint(state, tmp_path / 'a.pth')
    monkeypatch.setitem(__import__('sys').modules, 'safetensors', None)
    with pytest.raises(ValueError, match=re.escape('a.safetensors') + '.*pip install safetensors'):
        read_checkpoint(tmp_path / 'a.safetensors')
    assert len(read_checkpoint(tmp_path / 'a.pth')) == len(state)


def test_the_reader_is_installed_aloud_and_can_be_taken_out():
    before = dict(CheckpointLoader._schemes)
    install_reader()
    install_reader()
    modules = {scheme: loader.__module__ for scheme, loader in CheckpointLoader._schemes.items()}
    assert set(modules) == set(before) and modules[''] == 'res2net_mm.checkpoints.files'
    assert 'mmengine.runner.checkpoint' not in modules.values()  # no scheme is left to it
    uninstall_reader()
    assert CheckpointLoader._schemes == before
