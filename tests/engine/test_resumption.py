"""Which checkpoint --resume takes: the newest whole one of its own work directory, and what it says of the others."""
import os
import shutil

import pytest
import torch
from engine.toy_runs import read, toy_runner

from res2net_mm.engine.resumption import NOTHING_YET, find_resumption, read_resumption
from res2net_mm.utils.errors import UserError


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Four epochs, each with its checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    toy_runner(folder, max_keep_ckpts=-1).train()
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy to break."""
    return shutil.copytree(trained, tmp_path / 'run')


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(read(path)['state_dict']['layer.weight'].numpy().tobytes())] ^= 1
    path.write_bytes(content)


def keep_weights(path):
    torch.save(dict(state_dict=read(path)['state_dict']), path)


@pytest.mark.parametrize('spoil, said', [
    (lambda path: path.unlink(), 'does not exist'),
    (lambda path: path.write_bytes(b''), 'is empty'),
    (truncate, 'truncated or damaged'),
    (flip_bit, 'the checksum of'),
    (keep_weights, 'no state of a training'),
])
def test_newest_is_not_whole(spoil, said, work_dir):
    spoil(work_dir / 'epoch_4.pth')
    found = find_resumption(work_dir)
    assert found.path == work_dir / 'epoch_3.pth' and found.meta['epoch'] == 3
    assert len(found.warnings) == 2 and said in found.warnings[0] and 'epoch_4.pth' in found.warnings[0]
    assert found.warnings[1] == f"the run goes on from '{work_dir}/epoch_3.pth', the newest that is whole"
    truncate(work_dir / 'epoch_3.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_2.pth'


@pytest.mark.parametrize('spoil', [lambda path: path.write_text(''), lambda path: path.unlink()])
def test_nothing_names_the_newest(spoil, work_dir):
    spoil(work_dir / 'last_checkpoint')
    found = find_resumption(work_dir)
    assert found.path == work_dir / 'epoch_4.pth' and 'last_checkpoint' in found.warnings[0]


def test_whole(work_dir, trained):
    """What is named is taken, not what has the highest number; and from this directory, whatever the path says."""
    assert str(trained) in (work_dir / 'last_checkpoint').read_text()
    assert find_resumption(work_dir).path == work_dir / 'epoch_4.pth'
    assert find_resumption(work_dir).warnings == []
    (work_dir / 'last_checkpoint').write_text('elsewhere/epoch_2.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_2.pth'


def test_killed_before_the_newest_was_named(work_dir):
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_3.pth'))
    os.utime(work_dir / 'epoch_4.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_4.pth'
    checkpoint = read(work_dir / 'epoch_4.pth')
    checkpoint['meta']['seed'] = 77  # it is an earlier run's
    torch.save(checkpoint, work_dir / 'epoch_4.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_3.pth'
    truncate(work_dir / 'epoch_3.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_4.pth'


def test_a_new_run_in_a_used_directory(work_dir):
    """What lies there is another run's until this one has saved."""
    (work_dir / 'last_checkpoint').write_text(NOTHING_YET)
    old = os.stat(work_dir / 'last_checkpoint').st_mtime - 10
    for path in work_dir.glob('*.pth'):
        os.utime(path, (old, old))
    assert find_resumption(work_dir) is None
    os.utime(work_dir / 'epoch_1.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_1.pth'


def test_nothing_can_be_resumed(work_dir, tmp_path):
    assert find_resumption(tmp_path / 'nowhere') is None
    for path in work_dir.glob('*.pth'):
        truncate(path)
    with pytest.raises(UserError, match=r"no checkpoint in '.*' can be resumed: .*epoch_4.*; .*epoch_3.*; .*epoch_2.*"):
        find_resumption(work_dir)


def test_checkpoints_of_other_forms(work_dir, trained):
    best = next(work_dir.glob('best_*'))
    with pytest.raises(UserError, match=rf"'{best}' has weights and no state of a training.*load_from={best}"):
        read_resumption(best)
    shutil.rmtree(work_dir)
    (work_dir / 'epoch_2.pth').mkdir(parents=True)  # of DeepSpeed
    (work_dir / 'last_checkpoint').write_text('epoch_2.pth')
    assert find_resumption(work_dir).path == work_dir / 'epoch_2.pth'
    assert find_resumption(work_dir, trained).path == trained / 'epoch_2.pth'  # CheckpointHook's out_dir
