"""Hostile and malformed checkpoint files: each is refused by its own message, in under a second and 500 MiB."""
import json
import pickle
import re
import subprocess
import sys
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch
from hostile import (
    MAGIC,
    SYSTEM,
    Made,
    Storage,
    archive,
    changed,
    circle,
    encrypted,
    entry,
    legacy,
    name,
    nested,
    overlapping,
    oversized,
    pickled,
    random_bytes,
    raw,
    safetensors,
    saved,
    shared,
    tensor,
    text,
    truncated_tar,
    weights,
)
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint

from res2net_mm import Res2Net
from res2net_mm.checkpoints.files import has_training_state, install_reader, read_checkpoint

SECONDS, MEMORY = 1.0, 500  # MiB
NAN, INF = float('nan'), float('inf')
OLD = dict(_use_new_zipfile_serialization=False)
ONES = {'w': torch.ones(1000)}
ARRAY = np.arange(3.0)
RECONSTRUCT = ARRAY.__reduce__()[0]
SCALAR = ARRAY[0].__reduce__()[0]
F8 = np.dtype('f8')


def array(state):
    return Made(RECONSTRUCT, np.ndarray, (0, ), b'b', state=state)


def compressed(size):
    return archive(bytes(size), compression=zipfile.ZIP_DEFLATED)


def torch_script():
    model = torch.jit.script(torch.nn.Linear(2, 2))
    return model.save_to_buffer()


FILES = {  # name: how its bytes are made, and what is said of it
    # 1. No checkpoints.
    'empty': (lambda: b'', 'is empty'),
    'text': (lambda: b'loss: 0.3\n', "a text file that begins with b'loss"),
    'json': (lambda: b'{"w": [1, 2]}', """a text file that begins with b'{"w"""),
    'html': (lambda: b'<!DOCTYPE html><html>404</html>', 'a web page'),
    'git lfs': (lambda: b'version https://git-lfs.github.com/spec/v1\n', 'a Git LFS pointer'),
    'gzip': (lambda: b'\x1f\x8b\x08' + bytes(50), 'compressed with gzip'),
    'hdf5': (lambda: b'\x89HDF\r\n' + bytes(50), 'an HDF5 file'),
    'npy': (lambda: b'\x93NUMPY\x01\x00' + bytes(50), 'a NumPy array'),
    'random': (lambda: b'\xff' + random_bytes(5000), r"unknown format that begins with b'\\xff"),
    'tar': (truncated_tar, r'the .tar format of before PyTorch 0.2'),
    'script': (torch_script, 'a TorchScript program'),
    'document': (lambda: changed(archive({}), b'data.pkl', b'data.xml').replace(b'data.pkl', b'data.xml'),
                 'a zip archive of something else .a/data.xml'),
    'no parts': (lambda: b'PK\x05\x06' + bytes(18), r'a zip archive of something else \(, '),
    'plain pickle': (lambda: pickle.dumps({'w': 1}, 2), "a pickle, but neither one of PyTorch's nor arrays"),
    'pickle 4': (lambda: pickle.dumps({'w': 1}, 4), "a pickle, but neither one of PyTorch's nor arrays"),
    'random pickle': (lambda: b'\x80' + random_bytes(5000), 'unsupported pickle protocol'),
    'no weights': (lambda: saved({'epoch': 3}), 'holds no weights: only epoch'),
    'no dict': (lambda: saved([torch.ones(2)]), 'holds no weights: it is a list'),
    # 2. Archives.
    'cut archive': (lambda: saved(ONES)[:3000], 'the end of the archive is missing'),
    'bit flip': (lambda: changed(saved(ONES), b'\x00\x00\x80\x3f' * 9, b'\x00\x00\x80\x3e' * 9),
                 'the checksum of .*data/0 is wrong'),
    'bit flip in pickle': (lambda: changed(saved(ONES), b'FloatStorage', b'FloatStoragf'),
                           'the checksum of .*data.pkl is wrong'),
    'compressed weights': (lambda: archive({'w': tensor(9, (9, ))}, {'0': bytes(1 << 24)}, zipfile.ZIP_DEFLATED),
                           'a compressed part, a/data.pkl: [0-9]+ bytes of [0-9]{3};'),
    'bomb': (lambda: compressed(1 << 29), r'a compressed part, a/data.pkl: \d+ bytes of 536870912'),
    'overlap': (overlapping, 'parts that overlap, a/data/1'),
    'oversized part': (oversized, r'announces parts of 10\d+ bytes'),
    'encrypted': (encrypted, 'an encrypted part, a/data/0'),
    'same name': (lambda: archive({}, more=[('a/data/0', bytes(64))]), 'two parts of the same name'),
    'two pickles': (lambda: archive({}, more=[('b/data.pkl', bytes(64))]), 'more than one data.pkl'),
    'big endian': (lambda: archive({}, more=[('a/byteorder', 'big')]), 'numbers that are not little-endian'),
    'no storage': (lambda: archive({'w': tensor(16, (16, ))}, {}), r'announces 64 bytes .up to storage 0., and has 0'),
    'huge storage': (lambda: archive({'w': tensor(1 << 40, (1 << 40, ))}), 'announces 4398046511104 bytes'),
    # 3. Tensors.
    'stride 0': (lambda: archive({'w': tensor(16, (1 << 40, ), (0, ))}), 'repeat 64 bytes .* 4398046511104'),
    'repeated views': (lambda: archive({f'w{i}': tensor(16, (1 << 22, ), (0, )) for i in range(20)}),
                       'repeat 64 bytes .* 335544320'),
    'too long': (lambda: archive({'w': tensor(16, (17, ))}), r'size \(17,\) that reaches beyond its 16'),
    'offset': (lambda: archive({'w': tensor(16, (16, ), offset=1)}), r'size \(16,\) that reaches beyond its 16'),
    'negative offset': (lambda: archive({'w': tensor(16, (16, ), offset=-4)}), 'strides .1,. and offset -4'),
    'negative size': (lambda: archive({'w': tensor(16, (-16, ))}), r'size \(-16,\)'),
    'negative stride': (lambda: archive({'w': tensor(16, (16, ), (-1, ))}), r'with strides \(-1,\)'),
    'size of text': (lambda: archive({'w': tensor(16, ('16', ))}), r"size \('16',\)"),
    'strides missing': (lambda: archive({'w': tensor(16, (4, 4), (1, ))}), r'size \(4, 4\) with strides \(1,\)'),
    'dimensions': (lambda: archive({'w': tensor(16, (1, ) * 99)}), 'a tensor of 99 dimensions'),
    'conjugated': (lambda: archive({'w': tensor(16, (16, ), metadata={'conj': True})}), 'conjugated or negated'),
    'not of a storage': (lambda: archive({'w': Made(torch._utils._rebuild_tensor_v2, 7, 0, (1, ), (1, ), False, {})}),
                         'has a int where a Numbers belongs'),
    'sparse': (lambda: saved({'conv1.weight': torch.eye(3).to_sparse()}), r"a sparse tensor \('conv1.weight'\)"),
    'quantized': (lambda: saved({'q': torch.quantize_per_tensor(torch.ones(3), .1, 0, torch.qint8)}),
                  r"a quantized tensor \('q'\)"),
    'meta': (lambda: saved({'m': torch.ones(3, device='meta')}), r"a tensor \('m'\) on the device 'meta'"),
    'nested tensor': (lambda: saved({'n': torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}),
                      r"a nested tensor \('n'\)"),
    'complex': (lambda: saved({'c': torch.ones(3, dtype=torch.complex64)}), r"a complex tensor \('c'\)"),
    # 4. Values.
    'nan': (lambda: saved({'state_dict': {'a': torch.tensor([1, NAN]), 'b': torch.tensor([NAN])}}),
            "'state_dict.a' has NaN in 1 of 2 values and 1 more tensors"),
    'inf': (lambda: saved({'w': torch.tensor([[1, INF]])}), 'infinity in 1 of 2'),
    'minus inf': (lambda: saved({'w': torch.tensor([[-INF] * 3])}), 'negative infinity in all'),
    'nan in half': (lambda: saved({'h': torch.tensor([1, NAN, NAN]).half()}), 'NaN in 2 of 3'),
    'nan in average': (lambda: saved({**ONES, 'ema_state_dict': {'a': torch.tensor(NAN)}}),
                       "'ema_state_dict.a' has NaN"),
    'nan safetensors': (lambda: safetensors({'w': entry([16], 0, 64)}, b'\xff' * 64), 'NaN in 16 of 16'),
    'key 3': (lambda: saved({'state_dict': {**ONES, 3: torch.ones(1)}}), r'has 3 \(int\) among the names'),
    'key of bytes': (lambda: saved({**ONES, b'w': 1}), r"has b'w' \(bytes\) among the names"),
    # 5. Containers.
    'deep': (lambda: weights(nested(300)), 'nested more than 100 levels'),
    'very deep': (lambda: raw(b']' * 100001, b'a' * 100000), 'nested more than 100 levels'),
    'circle': (lambda: saved({**ONES, 'model': circle(dict)}), "contains itself .'model.model'."),
    'circle of lists': (lambda: saved({**ONES, 'x': circle(list)}), "contains itself .'x.0'."),
    'shared': (lambda: weights(shared(60)), 'unfolds to more than 10000000 values'),
    'key float': (lambda: weights({0.5: 1}), 'has a float as a key'),
    'key list': (lambda: weights({(1, (2, (3, ))): 1}), 'has a tuple as a key'),
    'key number': (lambda: weights({(1 << 61) - 1: 1}), 'has a int as a key'),
    'append': (lambda: raw(b'}K\x01a'), 'has a dict where a list belongs'),
    'set item': (lambda: raw(b']K\x01K\x02s'), 'has a list where a dict belongs'),
    'operations': (lambda: archive(b'\x80\x02' + b'N' * 1_020_001 + b'.'), 'more than 1000000 operations'),
    'repeated text': (lambda: archive(b'\x80\x02' + text('a' * 9999) + b'q\x00' + b''.join(
        [b'(', *[name('_codecs', 'encode') + b'h\x00' + text('latin1') + b'\x86R'] * 5000, b't.'])),
                      'many times as large'),
    # 6. Opcodes.
    'stack': (lambda: raw(b'R'), 'damaged .*IndexError'),
    'memo': (lambda: raw(b'h\x05'), 'damaged .*(Memo|KeyError)'),
    'text beyond': (lambda: raw(b'X\xff\xff\xff\xff'), 'EOFError the pickle ends in the middle'),
    'not ended': (lambda: archive(b'\x80\x02}'), 'EOFError the pickle ends in the middle'),
    'outside': (lambda: archive({'w': Storage(1, word='module')}), 'refers to something outside'),
    'key of storage': (lambda: archive({'w': tensor(1, (1, ), key=7)}), 'names a storage by something'),
    'negative count': (lambda: archive({'w': tensor(-1, (1, ))}), 'a storage of -1 numbers'),
    'bare storage': (lambda: weights(Storage(16)), 'it holds a function where'),
    'call a text': (lambda: raw(text('a') + b')R'), "calls what is no function of torch.save"),
    'state of a list': (lambda: raw(b']}b'), 'gives a list a state'),
    'reach': (lambda: weights(Made(getattr, HistoryBuffer, '__init__')), "builtins.getattr for '__init__'"),
    'reach a tensor': (lambda: weights(Made(getattr, tensor(16, (16, )), 'tofile')), "builtins.getattr for 'tofile'"),
    'function': (lambda: weights(Made(torch._tensor._rebuild_from_type_v2, torch.Size, torch.Tensor, (), {})),
                 'a function that is none'),
    'memory': (lambda: weights(Made(bytearray, 1 << 36)), 'has a int where a bytes belongs'),
    'tensor by size': (lambda: weights(Made(torch.Tensor, 1 << 40)), 'a class that pickles only name'),
    'file': (lambda: weights(Made(open, '/etc/passwd')), r'would call (_io|io).open'),
    'encoding': (lambda: raw(name('_codecs', 'encode') + text('a') + text('zip') + b'\x86R'), "text as 'zip'"),
    'size': (lambda: raw(name('torch', 'Size') + text('ab') + b'\x85R'), 'has a str where a tuple belongs'),
    'slice': (lambda: weights(Made(slice, 'a')), 'a slice of something else'),
    'whole model': (lambda: saved(torch.nn.Linear(2, 2)), 'would call torch.nn.modules.linear.Linear'),
    # 7. NumPy and logs.
    'objects': (lambda: weights(np.array([{}], object)), "array of type 'O8'"),
    'array class': (lambda: weights(Made(RECONSTRUCT, np.matrix, (0, ), b'b')), 'would call numpy.matrix'),
    'array shape': (lambda: weights(array((1, (1 << 40, ), F8, False, bytes(8)))), 'shape .1099511627776,. made of 8'),
    'array negative': (lambda: weights(array((1, (-1, ), F8, False, b''))), r'NumPy array of shape \(-1,\)$'),
    'array dimensions': (lambda: weights(array((1, (1, ) * 40, F8, False, bytes(8)))), r'NumPy array of shape \(1, 1'),
    'array list': (lambda: weights(array((1, (1, ), F8, False, [1]))), 'a NumPy array of something else'),
    'scalar': (lambda: weights(Made(SCALAR, F8, bytes(4))), 'a NumPy scalar of something else'),
    'record': (lambda: weights(np.zeros(1, [('a', 'f8')])), "array of type 'V8'"),
    'log': (lambda: raw(name('mmengine.logging.history_buffer', 'HistoryBuffer'), b')\x81}b'),
            'HistoryBuffer. of something else'),
    # 8. The older format.
    'cut old': (lambda: saved(ONES, **OLD)[:3000], 'announces 4000 bytes'),
    'begun old': (lambda: saved(ONES, **OLD)[:30], 'damaged .30 bytes; EOFError'),
    'old protocol': (lambda: legacy({}, protocol=7), "unknown version of PyTorch's older format"),
    'old big endian': (lambda: legacy({}, system=dict(SYSTEM, little_endian=False)), 'are not little-endian'),
    'old huge': (lambda: legacy({'w': tensor(1 << 40, (1, ), more=(None, ))}, [('0', 1 << 40, bytes(64))]),
                 r'announces 4398046511104 bytes .* and has 1\d\d'),
    'old count': (lambda: legacy({'w': tensor(16, (16, ), more=(None, ))}, [('0', 1 << 40, bytes(64))]),
                  'announces 16 numbers for storage 0, and has 1099511627776'),
    'old view': (lambda: legacy({'w': tensor(16, (16, ), more=(('1', 0, 4), ))}, [('0', 16, bytes(64))]),
                 'of before PyTorch 0.4'),
    'old without numbers': (lambda: legacy({'w': tensor(1, (1, ), more=(None, ))}) + bytes(9), "damaged .*KeyError"),
    'old magic': (lambda: pickled(MAGIC) + b'\x80\x02', 'damaged .16 bytes|damaged .* EOFError'),
    # 9. safetensors.
    'st cut': (lambda: safetensors({'w': entry([16], 0, 64)}, bytes(60)), 'its tensors have 64 bytes, and 60'),
    'st more': (lambda: safetensors({'w': entry([16], 0, 64)}, bytes(70)), 'its tensors have 64 bytes, and 70'),
    'st long header': (lambda: safetensors(b'{}', length=1 << 38), 'header has 274877906944 bytes, more than'),
    'st big header': (lambda: safetensors(b'{' + b' ' * (1 << 25) + b'}'), 'a safetensors header of 33554434 bytes'),
    'st no json': (lambda: safetensors(b'{"w": 1', b''), 'its header is no JSON: Expecting'),
    'st bytes': (lambda: safetensors(b'{' + b'\xff' * 99), 'its header is no JSON: .utf-8.'),
    'st deep': (lambda: safetensors(b'{"w":' + b'[' * 200000 + b']' * 200000 + b'}'), 'nested too deep'),
    'st same name': (lambda: safetensors(b'{"w": {}, "w": {}}'), 'the same name twice'),
    'st overlap': (lambda: safetensors({'a': entry([8], 0, 32), 'b': entry([12], 16, 64)}), "overlap before 'b'"),
    'st hole': (lambda: safetensors({'a': entry([4], 0, 16), 'b': entry([4], 48, 64)}), "leave a hole before 'b'"),
    'st negative': (lambda: safetensors({'a': entry([32], -64, 64)}), 'an offset that is no size'),
    'st type': (lambda: safetensors({'a': entry([16], 0, 64, 'EVIL')}), "type 'EVIL'"),
    'st shape': (lambda: safetensors({'a': entry([1 << 62, 4], 0, 64)}), r'shape \[4611686018427387904, 4\] in 64'),
    'st fields': (lambda: safetensors({'a': dict(shape=[4])}), 'without dtype, shape or data_offsets'),
}
MEASURE = """
import json, pathlib, sys, time
from res2net_mm.checkpoints.files import read_checkpoint
def peak():  # not ru_maxrss, which a process inherits from its parent
    status = pathlib.Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 1024
def measure(path):
    pathlib.Path('/proc/self/clear_refs').write_text('5')  # the peak is now the present size
    before, start = peak(), time.process_time()
    try:
        if path == 'control':
            raise ValueError(len(b'1' * (200 << 20)))
        read_checkpoint(path)
        message = 'it was read'
    except ValueError as error:
        message = str(error)
    print(json.dumps([message, time.process_time() - start, peak() - before]), flush=True)
for path in sys.stdin.read().splitlines():
    measure(path)
"""


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """What the reader says of each file, in one process of its own: message, seconds, MiB; last what must be seen."""
    folder = tmp_path_factory.mktemp('hostile')
    paths = []
    for number, (make, _) in enumerate(FILES.values()):
        paths.append(folder / f'{number}.pth')
        paths[-1].write_bytes(make())
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', MEASURE], capture_output=True, text=True,
                            input='\n'.join([*map(str, paths), 'control']))
    assert result.returncode == 0, result.stderr[-2000:]
    rows = list(map(json.loads, result.stdout.splitlines()))
    assert len(rows) == len(FILES) + 1 and 190 < rows[-1][2] < 300, 'memory is not measured'
    return dict(zip(FILES, rows))


@pytest.mark.parametrize('kind', FILES)
def test_refused_quickly_and_in_little_memory(kind, measured):
    message, seconds, memory = measured[kind]
    assert re.search(FILES[kind][1], message), message
    assert seconds < SECONDS and memory < MEMORY, (seconds, memory)
    assert '\n' not in message and len(message) < 700


def test_there_are_enough_and_their_messages_differ(measured):
    said = Counter(message.split('.pth', 1)[1] for message, _, _ in measured.values())
    assert len(FILES) >= 60 and len(said) >= len(FILES) - 3, said.most_common(3)


SPOILT = {  # a weight of a backbone that is whole otherwise
    'a sparse tensor': torch.Tensor.to_sparse,
    'a quantized tensor': lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "on the device 'meta'": lambda weight: weight.to('meta'),
    'a complex tensor': lambda weight: weight.to(torch.complex64),
    'has NaN in 1176 of 1176': lambda weight: weight * NAN,
    'has infinity in 1176 of 1176': lambda weight: weight.abs() * INF,
}


@pytest.mark.parametrize('said', SPOILT)
def test_nothing_is_loaded_by_half(said, tmp_path):
    """mmengine would warn, and train on with a random layer; or test to the end, and say 0.0."""
    state = Res2Net(depth=26, base_channels=8).state_dict()
    state['conv1.weight'] = SPOILT[said](state['conv1.weight'].abs() + 1)
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    install_reader()
    with pytest.raises(ValueError, match=f'(?s)(conv1.weight.*{said}|{said}.*conv1.weight)'):
        load_checkpoint(Res2Net(depth=26, base_channels=8), str(tmp_path / 'a.pth'))


def test_what_must_load(tmp_path):
    """Nothing of it is hostile: masks, numbers of all types, tied and empty and expanded weights, logs with NaN."""
    tied = torch.randn(4, 4)
    stored = {
        'state_dict': {
            'a': tied, 'b': tied, 'mask': torch.tensor([[0, -INF], [0, 0]]), 'step': torch.tensor(3),
            'none': torch.ones(0), 'flag': torch.tensor([True, False]), 'expanded': torch.ones(1).expand(3, 5),
            't': torch.randn(3, 5).t(), 'bf16': torch.ones(3).bfloat16(), 'p': torch.nn.Parameter(torch.ones(2)),
            'u16': torch.ones(2).to(torch.uint16),
        },
        'meta': dict(epoch=1, iter=8, seed=np.int64(3), dataset_meta=dict(
            sigmas=np.ones(17, 'float32'), names=np.array(['a', 'bc']), palette=[(1, 2, 3)], kinds={'x', 'y'},
            colours=np.zeros((17, 3), 'uint8'), flags=np.array([True]), empty=np.zeros((0, 4)))),
        'message_hub': dict(log_scalars=dict(loss=HistoryBuffer([1.5, NAN], [1, 1])), runtime_info={'iter': 8}),
        'optimizer': dict(state={0: dict(momentum_buffer=torch.ones(3))}, param_groups=[dict(lr=0.1, params=[0])]),
        'param_schedulers': [dict(milestones=Counter({3: 1}), last_step=2)],
    }
    for how in ({}, OLD):
        if how:
            stored['state_dict'].pop('u16')  # PyTorch cannot load it from the older format
        torch.save(stored, tmp_path / 'a.pth', **how)
        for place in ('cpu', torch.device('cpu'), None, lambda storage, location: storage, {'cpu': 'cpu'}):
            read = read_checkpoint(tmp_path / 'a.pth', place)
        for key, value in stored['state_dict'].items():
            assert torch.equal(read['state_dict'][key], value), key
            assert read['state_dict'][key].dtype == value.dtype and read['state_dict'][key].stride() == value.stride()
        assert read['state_dict']['a'].data_ptr() == read['state_dict']['b'].data_ptr()
        assert isinstance(read['state_dict']['p'], torch.nn.Parameter)
        for key, value in stored['meta']['dataset_meta'].items():
            assert np.array_equal(read['meta']['dataset_meta'][key], value) and type(value) is type(
                read['meta']['dataset_meta'][key])
        log = read['message_hub']['log_scalars']['loss']
        assert log.min() != log.min() and log.statistics('current') != 1.5
        assert read['param_schedulers'] == stored['param_schedulers'] and read['meta']['seed'] == 3
        assert pickle.dumps(read['meta']) == pickle.dumps(torch.load(tmp_path / 'a.pth', weights_only=False)['meta'])
        assert has_training_state(read) and not has_training_state(read['state_dict'])
        assert not has_training_state({**read, 'meta': {}})


def test_a_state_dict_keeps_its_versions(tmp_path):
    state = torch.nn.BatchNorm2d(3).state_dict()
    torch.save(state, tmp_path / 'a.pth')
    assert read_checkpoint(tmp_path / 'a.pth')._metadata == state._metadata
