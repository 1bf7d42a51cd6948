"""Weights for others: taken out of a checkpoint, and written as a whole folder or not at all."""
import errno
import hashlib
import re

import pytest
import torch

from res2net_mm import Res2Net
from res2net_mm.checkpoints import publishing
from res2net_mm.checkpoints.files import read_checkpoint
from res2net_mm.checkpoints.publishing import (
    has_average,
    published_meta,
    round_to_half,
    select_backbone,
    select_weights,
    write_publication,
)
from res2net_mm.utils.errors import CheckpointError, UserError

TINY = dict(depth=26, base_channels=8, num_stages=1, strides=(1, ), dilations=(1, ), out_indices=(0, ))


def tiny(prefix=''):
    return {prefix + key: value for key, value in Res2Net(**TINY).state_dict().items()}


def test_moving_average():
    """EMAHook's checkpoint holds the average as state_dict, and the optimizer's weights as ema_state_dict."""
    average, optimized = dict(w=torch.ones(2)), {'module.w': torch.zeros(2), 'steps': torch.tensor(3)}
    checkpoint = dict(state_dict=average, ema_state_dict=optimized, optimizer={})
    assert has_average(checkpoint)
    assert select_weights(checkpoint) == average
    student = select_weights(checkpoint, average=False)
    assert list(student) == ['w'] and not student['w'].any()
    other = dict(state_dict=average, ema_state_dict=dict(w=torch.zeros(2)))  # of another framework
    assert not has_average(other) and select_weights(other) == average
    with pytest.raises(ValueError, match='no moving average .* leave out --no-ema'):
        select_weights(other, average=False)


def test_what_cannot_be_published():
    with pytest.raises(ValueError, match='no weights, only meta, state_dict'):
        select_weights(dict(meta={}, state_dict={}))
    adapters = {'backbone.layer1.0.conv1.lora_down.weight': torch.ones(1), 'w': torch.ones(1)}
    with pytest.raises(ValueError, match=r'1 of the 2 weights are adapters \(LoRA\), such as .backbone.*; merge them'):
        select_weights(dict(state_dict=adapters))
    with pytest.raises(ValueError, match='no Res2Net or ResNet is among the 1 weights, which begin with encoder.0'):
        select_backbone({'encoder.0': torch.ones(1)})


def test_backbone():
    weights = {**tiny('backbone.'), 'head.fc.weight': torch.ones(1)}
    assert select_backbone(weights).keys() == tiny().keys()


def test_meta():
    """Nothing of the machine and of the run remains; names of classes are no paths."""
    meta = dict(cfg="work_dir = '/home/alice'", seed=3, time='now', experiment_name='alice', random_states=[1],
                epoch=12, iter=99, mmengine_version='0.10', hook_msgs=dict(last_ckpt='/home/alice/a.pth'),
                dataset_meta=dict(classes=('/m/01', 'b'), source='/home/alice/coco/train.json'))
    kept = published_meta(dict(meta=meta))
    kept.pop('res2net_mm_version')
    assert kept == dict(epoch=12, iter=99, mmengine_version='0.10',
                        dataset_meta=dict(classes=('/m/01', 'b'), source='PATH_TO/train.json'))
    assert list(published_meta(dict(meta=None))) == list(published_meta({})) == ['res2net_mm_version']


def write(folder, weights, format='safetensors', text='card', **options):
    return write_publication(folder, 'a', format, dict(meta=dict(epoch=1), state_dict=weights),
                             lambda file: {'README.md': f'{text} {file.sha256}'}, **options)


@pytest.mark.parametrize('format', ['safetensors', 'pth'])
def test_folder(format, tmp_path):
    """The name is the hash of the file, the same each time; what shares memory with a weight is not written."""
    optimizer = torch.randn(100_000)
    weights = dict(w=optimizer[:10], v=optimizer[:10], t=torch.randn(3, 4).T)
    file = write(tmp_path / 'out', weights, format)
    path = tmp_path / 'out' / file.name
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == file.sha256 and file.size == len(content) < 10_000
    assert re.fullmatch(rf'a-{file.sha256[:8]}\.{format}', file.name)
    assert sorted(one.name for one in (tmp_path / 'out').iterdir()) == ['README.md', file.name]
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta'] == dict(epoch=1)
    assert all(torch.equal(value, checkpoint['state_dict'][key]) for key, value in weights.items())
    before = path.stat().st_mtime_ns
    assert write(tmp_path / 'out', weights, format) == file and path.stat().st_mtime_ns == before
    if format == 'pth':
        assert torch.load(path, weights_only=True)['meta'] == dict(epoch=1)


def test_what_is_there_stays(tmp_path):
    """Another publication is replaced on demand, foreign files never, and an empty folder is filled."""
    (tmp_path / 'out').mkdir()
    write(tmp_path / 'out', dict(w=torch.ones(1)))
    before = {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()}
    with pytest.raises(UserError, match='holds another publication; --overwrite replaces it'):
        write(tmp_path / 'out', dict(w=torch.zeros(1)))
    assert {path.name: path.read_bytes() for path in (tmp_path / 'out').iterdir()} == before
    file = write(tmp_path / 'out', dict(w=torch.zeros(1)), overwrite=True)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['README.md', file.name]
    (tmp_path / 'out' / 'notes.txt').write_text('mine')
    with pytest.raises(UserError, match='out. holds notes.txt; name a folder of its own'):
        write(tmp_path / 'out', dict(w=torch.ones(1)), overwrite=True)
    assert (tmp_path / 'out' / 'notes.txt').read_text() == 'mine' and (tmp_path / 'out' / file.name).is_file()
    with pytest.raises(UserError, match='notes.txt. is a file'):
        write(tmp_path / 'out' / 'notes.txt', dict(w=torch.ones(1)))
    with pytest.raises(UserError, match='missing. does not exist'):
        write(tmp_path / 'missing' / 'out', dict(w=torch.ones(1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']


def test_nothing_half_written(tmp_path, monkeypatch):
    """Whichever step fails, the folder is not there, or is as it was."""
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, 'no space')

    for place, name in ((publishing, 'write_checkpoint'), (publishing, 'whole_file'), (publishing.Path, 'rename')):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, fail)
            with pytest.raises(OSError, match='no space'):
                write(tmp_path / 'out', dict(w=torch.ones(1)))
        assert not list(tmp_path.iterdir())
    file = write(tmp_path / 'out', dict(w=torch.ones(1)))
    rename = publishing.Path.rename

    def fail_at_the_last(path, target):
        if target == tmp_path / 'out' and not str(path).endswith('.old'):
            fail()
        return rename(path, target)

    monkeypatch.setattr(publishing.Path, 'rename', fail_at_the_last)
    with pytest.raises(OSError, match='no space'):
        write(tmp_path / 'out', dict(w=torch.zeros(1)), overwrite=True)
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['README.md', file.name]
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_rounding_halves_what_is_large():
    weights = {'conv.weight': torch.randn(4, 3, 3, 3), 'fc.weight': torch.randn(5, 4), 'fc.bias': torch.randn(5),
               'bn.running_var': torch.tensor([1e-9, 1e6]), 'bn.num_batches_tracked': torch.tensor(7),
               'table': torch.arange(6).reshape(2, 3)}
    rounded = round_to_half(weights)
    assert {key: value.dtype for key, value in rounded.items()} == {
        'conv.weight': torch.float16, 'fc.weight': torch.float16, 'fc.bias': torch.float32,
        'bn.running_var': torch.float32, 'bn.num_batches_tracked': torch.int64, 'table': torch.int64}
    for key, value in weights.items():
        torch.testing.assert_close(rounded[key].to(value.dtype), value, rtol=1e-3, atol=1e-6)
    with pytest.raises(CheckpointError, match="weight 'fc.weight' is beyond float16's greatest number"):
        round_to_half({'fc.weight': torch.full((2, 2), 1e5)})
