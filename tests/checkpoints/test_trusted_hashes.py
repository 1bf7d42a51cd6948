"""Trusted hashes: recorded once, whole, by several processes at a time, and never overwritten by chance."""
import json
import multiprocessing

import pytest

from res2net_mm.checkpoints import trusted_hashes
from res2net_mm.checkpoints.trusted_hashes import (
    COMMITTED,
    TrustedHash,
    find_first_use,
    find_trusted,
    first_use_file,
    record,
    trust_first_use,
)
from res2net_mm.models.public_weights import WEIGHTS

ENTRY = TrustedHash('ab' * 32, 5, 'https://x', '2026-11-26')


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))


def test_the_committed_hashes_are_those_of_public_weights():
    files = {file.name: file for weights in WEIGHTS for file in weights.files}
    entries = json.loads(COMMITTED.read_text())
    assert COMMITTED.read_text() == json.dumps(entries, indent=2, sort_keys=True) + '\n'
    for name in entries:
        entry = find_trusted(name)
        assert name in files and entry.sha256.startswith(files[name].sha256) and files[name].size in (None, entry.size)


def test_the_committed_hash_comes_first(tmp_path, monkeypatch):
    (tmp_path / 'a.pth').write_text('a')
    trust_first_use('a.pth', tmp_path / 'a.pth', 'https://a')
    assert find_trusted('a.pth') == find_first_use('a.pth')
    assert find_trusted('a.pth').sha256 == 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
    monkeypatch.setattr(trusted_hashes, 'COMMITTED', tmp_path / 'committed.json')
    record(tmp_path / 'committed.json', {'a.pth': ENTRY})
    assert find_trusted('a.pth') == ENTRY


def test_another_hash_is_never_written_over_the_first(tmp_path):
    record(tmp_path / 'a.json', {'a.pth': ENTRY})
    before = (tmp_path / 'a.json').read_bytes()
    other = TrustedHash('cd' * 32, 5, 'https://y', '2026-11-27')
    with pytest.raises(ValueError, match=f"a.pth has the SHA-256 {'cd' * 32}, and '.*a.json' says {'ab' * 32}"):
        record(tmp_path / 'a.json', {'b.pth': ENTRY, 'a.pth': other})
    assert (tmp_path / 'a.json').read_bytes() == before
    record(tmp_path / 'a.json', {'a.pth': other}, replace=True)
    assert json.loads((tmp_path / 'a.json').read_text())['a.pth']['sha256'] == 'cd' * 32


def test_processes_that_record_at_once(tmp_path):
    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=record, args=(tmp_path / 'a.json', {f'{i}.pth': ENTRY})) for i in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert list(json.loads((tmp_path / 'a.json').read_text())) == [f'{i}.pth' for i in range(8)]


@pytest.mark.parametrize('text', ['{', '[1]', '{"a.pth": {"sha256": "12"}}', '{"a.pth": 3}',
                                  '{"a.pth": {"sha256": "12", "size": 1, "url": "", "date": ""}}'])
def test_a_damaged_file_of_hashes_is_an_error(text):
    first_use_file().parent.mkdir(parents=True)
    first_use_file().write_text(text)
    with pytest.raises(ValueError, match='res2net_mm/hashes.json. is no file of hashes .*Mend it, or delete it'):
        find_trusted('a.pth')


def test_hashes_that_cannot_be_written_are_a_warning(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(trusted_hashes, 'print_log', lambda text, **_: lines.append(text))
    (tmp_path / 'hub').write_text('a file where the folder would be')
    (tmp_path / 'a.pth').write_text('a')
    trust_first_use('a.pth', tmp_path / 'a.pth', 'https://a')
    assert len(lines) == 1 and 'will not be checked' in lines[0]
