"""Paddle's files: arrays are read, in every protocol, without Paddle, and written as Paddle does.

What else a file could hold is in tests/reliability/test_hostile_pdparams.py.
"""
import pickle
import struct
import sys

import numpy as np
import pytest
import torch
from helpers import V1B

from res2net_mm import Res2Net
from res2net_mm.checkpoints.convert import convert
from res2net_mm.checkpoints.files import (
    install_reader,
    load_checkpoint,
    read_checkpoint,
    uninstall_reader,
    write_checkpoint,
)
from res2net_mm.models.pretrained import read_weights

NAMES, PARTS = 'StructuredToParameterName@@', 'UnpackBigParamInfor@@'
ARRAYS = {'a.w_0': np.arange(1000, dtype='f4').reshape(2, 500).T, 'b': np.array(3, 'i8'), 'c': np.zeros((0, 3), 'f2'),
          'd': np.array([True, False])}


def stored(tmp_path, content, protocol=4, change=lambda content: content):
    path = tmp_path / 'a.pdparams'
    path.write_bytes(change(content if isinstance(content, bytes) else pickle.dumps(content, protocol)))
    return path


@pytest.fixture(autouse=True)
def no_paddle(monkeypatch):
    monkeypatch.setitem(sys.modules, 'paddle', None)


def assert_read(path, arrays=ARRAYS):
    read = read_checkpoint(path)
    assert list(read) == list(arrays)
    for key, array in arrays.items():
        assert isinstance(read[key], torch.Tensor) and read[key].numpy().dtype == array.dtype
        assert read[key].shape == array.shape and np.array_equal(read[key], array)


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_every_protocol_of_paddle(protocol, tmp_path):
    assert_read(stored(tmp_path, {**ARRAYS, NAMES: {'a.w_0': 'linear_0.w_0'}}, protocol))


@pytest.mark.parametrize('protocol', [2, 3])
@pytest.mark.parametrize('module', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_pickles_of_numpy_1_and_2(module, protocol, tmp_path):
    """Their modules have different names; in these protocols a name ends with its line."""
    def renamed(content):
        content = content.replace(b'numpy._core.', b'numpy.core.').replace(b'numpy.core.multiarray', module)
        assert module in content
        return content

    assert_read(stored(tmp_path, ARRAYS, protocol, renamed))


def test_a_pickle_of_python_2(tmp_path):
    """Its texts are bytes, which are in no encoding where they are an array's content."""
    numbers = np.array([1.5, -2.75, 1e30], 'f4')
    array = (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x03t'
             b'cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
             + b'T' + struct.pack('<i', 12) + numbers.tobytes() + b'tb')
    assert_read(stored(tmp_path, b'\x80\x02}U\x04x.w0' + array + b's.'), {'x.w0': numbers})


def test_uint16_is_bfloat16(tmp_path):
    weight = torch.randn(3, 4).bfloat16()
    path = stored(tmp_path, {'w': weight.view(torch.int16).numpy().view('u2')})
    assert torch.equal(read_checkpoint(path)['w'], weight)
    write_checkpoint({'w': weight}, tmp_path / 'b.pdparams')
    assert torch.equal(read_checkpoint(tmp_path / 'b.pdparams')['w'], weight)
    assert pickle.loads((tmp_path / 'b.pdparams').read_bytes())['w'].dtype == np.uint16


def test_an_array_in_parts(tmp_path):
    """As those of over 1 GiB are, in protocols 2 and 3."""
    whole = ARRAYS['a.w_0']
    parts = {'w@@.0': whole.ravel()[:700], 'w@@.1': whole.ravel()[700:], 'b': ARRAYS['b'],
             PARTS: {'w': {'OriginShape': (500, 2), 'slices': ['w@@.0', 'w@@.1']}}}
    assert_read(stored(tmp_path, parts, 2), {'b': ARRAYS['b'], 'w': whole})
    for change in (dict(OriginShape=(3, 3)), dict(slices=['w@@.0', 'x']), dict(slices=['w@@.0'] * 99), dict(slices=7)):
        parts[PARTS]['w'] = {'OriginShape': (500, 2), 'slices': ['w@@.0', 'w@@.1'], **change}
        with pytest.raises(ValueError, match=r"parts of an array that do not fit together \('w': "):
            read_checkpoint(stored(tmp_path, parts, 2))
    with pytest.raises(ValueError, match='has a list where a dict belongs'):
        read_checkpoint(stored(tmp_path, {**parts, PARTS: []}))


def test_what_is_written_is_what_paddle_writes(tmp_path):
    state = {'w': torch.randn(3, 4).T, 'b': torch.ones(2, requires_grad=True)}
    write_checkpoint(state, tmp_path / 'a.pdparams')
    content = pickle.loads((tmp_path / 'a.pdparams').read_bytes())
    assert content.pop(NAMES) == {'w': 'w', 'b': 'b'} and content.keys() == state.keys()
    assert all(type(array) is np.ndarray for array in content.values())
    assert torch.equal(read_checkpoint(tmp_path / 'a.pdparams')['w'], state['w'])


def test_every_way_to_load_takes_one(tmp_path, monkeypatch):
    model = Res2Net(depth=26, base_channels=8, stage_pool='strided_hierarchical', **V1B)
    write_checkpoint(convert(model.state_dict(), 'paddle')[0], tmp_path / 'a.pdparams')
    pretrained = Res2Net(depth=26, base_channels=8, stage_pool='strided_hierarchical', **V1B, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'a.pdparams')))
    pretrained.init_weights()
    assert all(torch.equal(value, pretrained.state_dict()[key]) for key, value in model.state_dict().items())
    install_reader()
    for read in (read_weights, load_checkpoint, read_checkpoint):
        assert 'bb_0_0.conv0._conv.weight' in read(str(tmp_path / 'a.pdparams'))
    uninstall_reader()
