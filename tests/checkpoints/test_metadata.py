"""What a checkpoint says of its data survives the header of a safetensors file."""
import json
import math
import struct

import numpy as np
import pytest
import torch

from res2net_mm.checkpoints.files import load_from_local, read_checkpoint, write_checkpoint
from res2net_mm.checkpoints.metadata import KEY, decode_meta, encode_meta

META = dict(  # as the datasets of mmdet, mmseg and mmpose have it
    dataset_meta=dict(
        classes=('disc', 'a "square"', 'ü'), palette=[(220, 20, 60), (1, 2, 3)], CLASSES=['a'],
        keypoint_id2name={0: 'nose', 1: 'left_eye'}, skeleton_links=[(0, 1)], flip_pairs=(), empty={},
        sigmas=np.array([0.026, 1e-9], np.float32), weights=np.arange(6).reshape(2, 3), flags=np.array([True]),
        lowest=-math.inf, text='', marked={'!tuple': [1]}, nothing=None, yes=True),
    epoch=12, iter=np.int64(3), mmengine_version='0.10.7')


def same(a, b):
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def test_round_trip(tmp_path):
    """With the types of all values; views, weights that share memory and other precisions are weights like any."""
    base = torch.randn(8, 6)
    weights = dict(a=base.T, b=base, c=base[2:], d=base.bfloat16(), e=torch.tensor(3), f=torch.empty(0, 4),
                   g=torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
    write_checkpoint(dict(meta=META, state_dict=weights), tmp_path / 'a.safetensors')
    for read in (read_checkpoint, load_from_local):
        checkpoint = read(tmp_path / 'a.safetensors')
        assert same(META, checkpoint['meta'])
        stored = checkpoint['state_dict']
        assert stored.keys() == weights.keys()
        assert all(torch.equal(value, stored[key]) and value.dtype == stored[key].dtype
                   for key, value in weights.items())


def test_without_meta(tmp_path):
    """Other people's files are the weights alone, as before."""
    write_checkpoint(dict(a=torch.ones(2)), tmp_path / 'a.safetensors')
    assert list(read_checkpoint(tmp_path / 'a.safetensors')) == ['a']


@pytest.mark.parametrize('text', [
    '{"a": ', '[1]', '3', '{"a": {"!array": ["<f4", [3], [1.0]]}}', '{"a": {"!array": ["O", [1], [1]]}}',
    '{"a": {"!array": 3}}', '{"a": {"!items": [[[], 1]]}}', '{"a": {"!tuple": 3}}', '{"a":' + '[' * 100_000,
    '{"a": {"!array": ["<f4", [1], ["x"]]}}', '{"!tuple": [1]}'])
def test_strange_texts(text, tmp_path):
    """A header of somebody else's making is an error that names the file, and nothing of it is run."""
    header = json.dumps({'__metadata__': {KEY: text}, 'w': dict(dtype='F32', shape=[1], data_offsets=[0, 4])}).encode()
    path = tmp_path / 'a.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match='a.safetensors. is truncated or damaged'):
        read_checkpoint(path)


def test_what_is_no_data():
    for value in (object(), {1, 2}, np.array([object()]), torch.ones(1)):
        with pytest.raises(ValueError, match=r'meta.dataset_meta.x of the checkpoint is a \w+; in safetensors'):
            encode_meta(dict(dataset_meta=dict(x=value)))
    assert decode_meta(encode_meta({})) == {}
