"""Paddle's files from strangers: arrays by name are read from a pickle, and nothing else is made or run."""
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from helpers import slow_except
from hostile import Made, Storage, pickled

from res2net_mm.checkpoints.files import install_reader, read_checkpoint, uninstall_reader

ARRAYS = {'a': np.ones((2, 500), 'f4'), 'b': np.array(3, 'i8')}
BIG = struct.pack('<Q', 1 << 40)
CONTENT = bytes(16000)


def stored(tmp_path, content, protocol=4):
    path = tmp_path / 'a.pdparams'
    path.write_bytes(content if isinstance(content, bytes) else pickled(content, protocol))
    return path


# What is refused: how the content is made, and what is said of it.
HOSTILE = {
    'call': (lambda: {**ARRAYS, 'x': Made(os.mkdir, 'canary')}, r'refused, and nothing of it was run.*posix\.mkdir'),
    'call first': (lambda: {'x': Made(os.mkdir, 'canary'), **ARRAYS}, 'refused, and nothing of it was run.*mkdir'),
    'eval, as Paddle stores tensors of old': (
        lambda: {'x': Made(eval, 'data', {'data': np.ones(2)})}, r'refused, and nothing of it was run.*builtins\.eval'),
    'a name of PyTorch': (lambda: {**ARRAYS, 'x': Made(torch._utils._rebuild_parameter, 1)},
                          'refused, and nothing of it was run: it has more than arrays.*_rebuild_parameter'),
    'a name alone': (lambda: {**ARRAYS, 'x': torch.Size}, 'it has more than arrays'),
    'array type alone': (lambda: {**ARRAYS, 'x': np.ndarray}, r"holds a Constructor \('x'\) where an array"),
    'objects': (lambda: {'x': np.array([Made(os.mkdir, 'canary')], object)}, "NumPy array of type 'O8'"),
    'texts': (lambda: {'x': np.array(['a', 'b'])}, r"holds a ndarray \('x'\) where an array of numbers"),
    'complex': (lambda: {'x': np.ones(2, 'c8')}, r"holds a ndarray \('x'\) where an array of numbers"),
    'numbers beside': (lambda: {**ARRAYS, 'epoch': 3}, r"holds a int \('epoch'\) where an array"),
    'a dict inside': (lambda: {**ARRAYS, 'model': ARRAYS}, r"holds a dict \('model'\) where an array"),
    'big-endian': (lambda: {'x': np.ones(2, '>f4')}, 'gives a .*a state that no checkpoint needs'),
    'nothing': (dict, 'neither one of PyTorch.s nor arrays by name'),
    'a list': (lambda: [np.ones(2)], 'neither one of PyTorch.s nor arrays by name'),
    'key of a number': (lambda: {7: np.ones(2)}, '7 .int. among the names of weights'),
    'NaN': (lambda: {'w': np.array([np.nan, 1.])}, "not finite: 'w' has NaN in 1 of 2"),
    'a storage': (lambda: {**ARRAYS, 'x': Storage(4)}, 'it has more than arrays'),
    'too large text': (lambda: b'\x80\x04\x8d' + BIG, 'EOFError the pickle ends in the middle'),
    'too large bytes': (lambda: b'\x80\x04\x8e' + BIG, 'EOFError the pickle ends in the middle'),
    'too large array': (lambda: pickled({'x': np.ones(2, 'f4')}, 4).replace(b'K\x02\x85', b'K\x09\x85'),
                        r'shape \(9,\) made of 8 bytes'),
    'an array many times': (
        lambda: pickled({**ARRAYS, **{f'x{i}': Made(np._core.multiarray._reconstruct, np.ndarray, (0, ), b'b', state=(
            1, (4000, ), np.dtype('f4'), False, CONTENT)) for i in range(100)}}, 4), 'repeats its contents'),
    'cut': (lambda: pickled(ARRAYS, 4)[:-100], 'truncated or damaged'),
    'a million operations': (lambda: b'\x80\x04\x95' + BIG + b'(' * 1_100_000 + b'.', 'more than 1000000 operations'),
    'extensions': (lambda: b'\x80\x04\x82\x01.', r'neither one of PyTorch.s nor of Paddle.s .opcode 130'),
}

@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('kind', slow_except(HOSTILE, *(kind for kind in HOSTILE if kind != 'a million operations')))
def test_nothing_but_arrays(kind, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, message = HOSTILE[kind]
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(stored(tmp_path, make(), protocol))
    assert 'a.pdparams' in str(caught.value) and not (tmp_path / 'canary').exists()


@pytest.mark.parametrize('protocol', [2, 4])
def test_the_payload_would_work(protocol, tmp_path, monkeypatch):
    """Or the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickled(HOSTILE['call'][0](), protocol))
    assert (tmp_path / 'canary').exists()


def test_nothing_is_trusted_more_than_arrays(tmp_path):
    """Paddle's files hold nothing else, so there is nothing that a user could allow."""
    install_reader(trust=True)
    try:
        assert list(read_checkpoint(stored(tmp_path, ARRAYS))) == list(ARRAYS)
        with pytest.raises(ValueError, match='nothing of it was run'):
            read_checkpoint(stored(tmp_path, HOSTILE['call'][0]()))
    finally:
        uninstall_reader()
