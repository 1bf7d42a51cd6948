"""Files that no checkpoint is, byte by byte: what strangers, bad disks and broken downloads could bring."""
import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import torch
from torch._utils import _rebuild_tensor_v2

MAGIC, PROTOCOL = 0x1950a86a20f9469cfc6c, 1001
SYSTEM = dict(protocol_version=PROTOCOL, little_endian=True, type_sizes=dict(short=2, int=4, long=4))


class Made:
    """What unpickling this calls a function for, and gives its result a state."""

    def __init__(self, function, *arguments, state=None):
        self.parts = function, arguments, *([] if state is None else [state])

    def __reduce__(self):
        return self.parts


class Storage:
    """A storage of the file, as it is announced."""

    def __init__(self, count, key='0', kind=torch.FloatStorage, more=(), word='storage'):
        self.pid = (word, kind, key, 'cpu', count, *more)


class Pickler(pickle.Pickler):

    def persistent_id(self, value):
        return value.pid if isinstance(value, Storage) else None


def pickled(value, protocol=2):
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def tensor(count, size, stride=None, offset=0, metadata=None, **storage):
    """A tensor of the file, with any size and strides."""
    stride = tuple(1 for _ in size) if stride is None else stride
    return Made(_rebuild_tensor_v2, Storage(count, **storage), offset, size, stride, False, OrderedDict(),
                *([] if metadata is None else [metadata]))


def archive(content, storages=None, compression=zipfile.ZIP_STORED, more=()):
    """A file in PyTorch's format: ``content`` is the pickle, or what to pickle."""
    file = io.BytesIO()
    content = content if isinstance(content, bytes) else pickled(content)
    with zipfile.ZipFile(file, 'w', compression) as parts:
        parts.writestr('a/data.pkl', content)
        for key, numbers in ({'0': bytes(64)} if storages is None else storages).items():
            parts.writestr(f'a/data/{key}', numbers)
        for name, text in more:
            parts.writestr(name, text)
        parts.writestr('a/version', '3\n')
    return file.getvalue()


def weights(value):
    """An archive with one weight, and something beside it."""
    return archive({'w': tensor(16, (16, )), 'x': value})


def legacy(content, storages=(), magic=MAGIC, protocol=PROTOCOL, system=SYSTEM):
    """A file in PyTorch's older format; storages are key, number of values, bytes."""
    parts = [pickled(value) for value in (magic, protocol, system, content, [key for key, _, _ in storages])]
    return b''.join(parts) + b''.join(struct.pack('<q', count) + numbers for _, count, numbers in storages)


def saved(value, **how):
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def safetensors(header, numbers=bytes(64), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + numbers


def entry(shape, start, stop, dtype='F32'):
    return dict(dtype=dtype, shape=shape, data_offsets=[start, stop])


def changed(data, old, new, last=False):
    """Bytes with others in their place."""
    assert old in data
    place = data.rindex(old) if last else data.index(old)
    return data[:place] + new + data[place + len(old):]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def shared(depth):
    """A list of 2**depth values, in a few bytes."""
    value = [0]
    for _ in range(depth):
        value = [value, value]
    return value


def circle(kind):
    value = kind()
    if kind is dict:
        value['model'] = value
    else:
        value.append(value)
    return value


def raw(*codes):
    """An archive with these opcodes."""
    return archive(b'\x80\x02' + b''.join(codes) + b'.')


def name(module, attribute):
    return b'c' + f'{module}\n{attribute}\n'.encode()


def text(value):
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def truncated_tar():
    return bytes(257) + b'ustar\x0000' + bytes(300)


def overlapping():
    """Two entries of an archive's directory for one and the same part."""
    data = archive({'w': tensor(16, (16, )), 'v': tensor(16, (16, ), key='1')}, {'0': bytes(64), '1': bytes(64)})
    start = data.rindex(b'a/data/0') - 46
    place = data[start + 42:start + 46]
    second = data.rindex(b'a/data/1') - 46
    return data[:second + 42] + place + data[second + 46:]


def oversized():
    """The directory of an archive says that a part is larger than the file."""
    data = archive({'w': tensor(16, (16, ))})
    start = data.rindex(b'a/version') - 46
    return data[:start + 20] + struct.pack('<II', 1 << 30, 1 << 30) + data[start + 28:]


def encrypted():
    data = archive({'w': tensor(16, (16, ))})
    start = data.rindex(b'a/data/0') - 46
    return data[:start + 8] + b'\x01\x00' + data[start + 10:]


def random_bytes(count):
    return np.random.default_rng(0).bytes(count)
