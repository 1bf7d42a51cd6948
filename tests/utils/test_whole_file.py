"""Files that are whole or not there."""
import errno
import os
import stat
import subprocess
import sys
import threading

import pytest

from res2net_mm.utils.whole_file import NoSpaceError, missing_space, unfinished_files, whole_file


def test_written(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with whole_file(path) as file:
        file.write(b'new')
        assert path.read_text() == 'old' and len(unfinished_files(tmp_path)) == 1
    assert path.read_text() == 'new' and os.listdir(tmp_path) == ['a.txt']
    mask = os.umask(0o027)
    try:
        with whole_file(tmp_path / 'b.txt') as file:
            file.write(b'x')
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / 'b.txt').stat().st_mode) == 0o640  # as open() would have it


@pytest.mark.parametrize('error', [ValueError('no'), OSError(errno.EIO, 'broken')])
def test_an_error_leaves_the_old_one(error, tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(type(error), match=str(error.args[-1])), whole_file(path) as file:
        file.write(b'new')
        raise error
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['a.txt']


def test_a_kill_leaves_the_old_one(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    subprocess.run([sys.executable, '-c', 'import os, sys\nfrom res2net_mm.utils.whole_file import whole_file\n'
                    'with whole_file(sys.argv[1]) as file:\n    file.write(b"new")\n    file.flush()\n'
                    '    os.kill(os.getpid(), 9)', path], check=False)
    assert path.read_text() == 'old' and len(unfinished_files(tmp_path)) == 1


def test_no_space(tmp_path):
    """A full disk as Linux has one."""
    if not os.path.exists('/dev/full'):
        pytest.skip('there is no /dev/full')
    unfinished = tmp_path / f'.a.txt.{os.getpid()}.{threading.get_ident()}.unfinished'
    unfinished.symlink_to('/dev/full')
    said = r"^'.*a\.txt' was not written: it takes 0\.0 MiB, and its disk has \d+\.\d MiB free; a quota allows less$"
    with pytest.raises(NoSpaceError, match=said), whole_file(tmp_path / 'a.txt', 9) as file:
        file.write(b'x' * 9)
    assert os.listdir(tmp_path) == []


def test_missing_space(tmp_path):
    assert missing_space(tmp_path, None).startswith('its disk has')
    assert missing_space(tmp_path, 1 << 60).endswith('MiB are missing')
