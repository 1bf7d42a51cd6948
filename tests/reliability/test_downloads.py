"""Downloads: every kind of bad host ends in time, the next one is asked, and a wrong file is never taken up."""
import errno
import multiprocessing
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bad_hosts import FAULTS, SOURCES, TIME_OUT, Host, hub_address, local_host, meet, prepare
from mmengine.runner import CheckpointLoader

from res2net_mm.checkpoints import download, hub, hugging_face, transfer
from res2net_mm.checkpoints.files import install_reader, write_checkpoint
from res2net_mm.checkpoints.weights import WeightFile, hashed_file
from res2net_mm.models import public_weights
from res2net_mm.models.pretrained import fetch_weights, read_weights

NAME = 'res2net50_26w4s'


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A local host, empty caches, and patience for a second."""
    prepare(monkeypatch, tmp_path / 'home')
    with local_host(tmp_path) as host:
        yield host


@pytest.fixture
def content(server):
    return server.content


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'home' / 'hub' / 'checkpoints'


def served(monkeypatch, *files, size=None):
    """Let the weights of Res2Net-50 26w4s be at these addresses only."""
    files = tuple(hashed_file(file, size) if file.endswith('.pth') else WeightFile(file, size) for file in files)
    rows = tuple(replace(row, files=files) if row.name == NAME else row for row in public_weights.WEIGHTS)
    monkeypatch.setattr('res2net_mm.models.pretrained.WEIGHTS', rows)


def visible(folder):
    """The files of a cache; locks, and parts to continue, are hidden."""
    return [path.name for path in folder.iterdir() if not path.name.startswith('.')] if folder.is_dir() else []


def parts(folder):
    return sorted(folder.glob('.*.part'))


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('fault', FAULTS)
def test_every_fault_of_every_kind_of_host(fault, source, server, tmp_path, monkeypatch):
    """The next host is asked in time, or the error says what the last did; what is left is what will be continued."""
    if source == SOURCES[0]:
        pytest.importorskip('huggingface_hub')
    lines = []
    monkeypatch.setattr(hub, 'print_log', lambda text, **_: lines.append(text))
    outcome, duration, left = meet(source, fault, server, tmp_path / 'home', monkeypatch)
    _, said, kept = FAULTS[fault]
    by_format_alone = (source, fault) == ('hub, without it', 'wrong')  # nothing tells these bytes from the right ones
    if said is None or by_format_alone:
        of_hub = source.startswith('hub')
        expected = server.hub_content if of_hub else server.content
        assert outcome.read_bytes() == (expected[:-9] + bytes(9) if by_format_alone else expected)
    else:
        text = str(outcome) if source == 'last mirror' else '\n'.join(lines)
        assert re.search(said, text), text
        assert source == 'last mirror' or outcome.read_bytes() == server.content
    assert duration < TIME_OUT
    assert all(name.endswith('.part') for name in left) and bool(left) == (kept and source != 'mirror'), left


def test_a_part_is_continued(server, cache, content, monkeypatch):
    """Only what is missing is asked for."""
    served(monkeypatch, f'{server.url}short/{server.file}')
    with pytest.raises(FileNotFoundError, match='it announced'):
        fetch_weights(NAME)
    [part] = parts(cache)
    assert part.read_bytes() == content[:len(content) // 2]
    monkeypatch.setattr(Host, 'short', Host.good)
    assert fetch_weights(NAME).read_bytes() == content
    assert server.headers[-1]['Range'] == f'bytes={len(content) // 2}-' and len(server.asked) == 2
    assert not parts(cache) and visible(cache) == [server.file]


@pytest.mark.parametrize('spoil', [
    lambda part: part.write_bytes(bytes(part.stat().st_size)),
    lambda part: part.write_bytes(bytes(10000)),  # longer than the file: the host says 416
])
def test_a_continued_file_that_is_not_right_is_fetched_whole(spoil, server, cache, content, monkeypatch):
    served(monkeypatch, f'{server.url}short/{server.file}')
    with pytest.raises(FileNotFoundError):
        fetch_weights(NAME)
    spoil(parts(cache)[0])
    monkeypatch.setattr(Host, 'short', Host.good)
    assert fetch_weights(NAME).read_bytes() == content and not parts(cache)
    assert server.headers[-1]['Range'] is None and server.asked.count(f'/short/{server.file}') == 3


def test_another_version_is_not_continued(server, cache, monkeypatch):
    """Of a file without a known hash: two halves of two versions would be a checkpoint, by its format."""
    url = f'{server.url}short/epoch_1.pth'
    with pytest.raises(FileNotFoundError):
        hub.fetch_url(url)
    write_checkpoint({'w': torch.zeros(999)}, cache / 'other.pth')
    server.content, server.etag = (cache / 'other.pth').read_bytes(), 'another'
    with monkeypatch.context() as patch:  # which begins anew, and is cut off, too
        patch.setattr(Host, 'short', Host.cuts)
        with pytest.raises(FileNotFoundError):
            hub.fetch_url(url)
        assert len(parts(cache)) == 1
    server.etag = 'a third'
    monkeypatch.setattr(Host, 'short', Host.good)
    assert hub.fetch_url(url).read_bytes() == server.content and not parts(cache)
    assert server.headers[-2]['Range'] and server.headers[-1]['Range'] is None


def test_a_host_that_ignores_where_to_continue(server, cache, content, monkeypatch):
    served(monkeypatch, f'{server.url}short/{server.file}')
    with pytest.raises(FileNotFoundError):
        fetch_weights(NAME)
    monkeypatch.setattr(Host, 'short', Host.whole)
    assert fetch_weights(NAME).read_bytes() == content and len(server.asked) == 2


def test_a_host_that_cuts_and_gets_on_is_asked_again(server, content, monkeypatch):
    served(monkeypatch, f'{server.url}cuts/{server.file}')
    monkeypatch.setattr(download, 'WORTH_ASKING_AGAIN', 1000)
    assert fetch_weights(NAME).read_bytes() == content and len(server.asked) == 4


def test_the_published_size_is_a_bound(server, monkeypatch):
    served(monkeypatch, f'{server.url}good/{server.file}', size=100)
    with pytest.raises(FileNotFoundError, match='it announces .* where 100 are expected'):
        fetch_weights(NAME)


def test_a_full_disk_is_not_filled_up(server, cache, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: type('Usage', (), dict(free=download.KEEP_FREE + 1000)))
    served(monkeypatch, f'{server.url}endless/{server.file}', f'{server.url}good/{server.file}')
    with pytest.raises(FileNotFoundError, match='(?s)more than 1000 bytes.*there is no room in .*must stay free'):
        fetch_weights(NAME)
    assert visible(cache) == parts(cache) == []


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    served(monkeypatch, f'{server.url}good/{server.file}')
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'hub').write_text('a file where the folder would be')
    with pytest.raises(FileNotFoundError, match='it cannot be written .*TORCH_HOME, and HF_HOME .* you may write'):
        fetch_weights(NAME)

    def refuse(*_, **__):
        raise OSError(errno.EDQUOT, 'Disk quota exceeded')

    (tmp_path / 'home' / 'hub').unlink()
    monkeypatch.setattr('os.fsync', refuse)
    with pytest.raises(FileNotFoundError, match='was not written: .*a quota allows less'):
        fetch_weights(NAME)
    assert not parts(tmp_path / 'home' / 'hub' / 'checkpoints')


def test_proxies_are_named_without_passwords(server, monkeypatch):
    monkeypatch.setenv('http_proxy', 'http://me:secret@127.0.0.1:9')
    monkeypatch.setenv('no_proxy', '')
    monkeypatch.setattr('urllib.request._opener', None)  # where urllib keeps the proxies of its first request
    served(monkeypatch, f'{server.url}good/{server.file}')
    with pytest.raises(FileNotFoundError, match='refused.*\nProxies in use: http: http://127.0.0.1:9\nWays') as error:
        fetch_weights(NAME)
    assert 'secret' not in str(error.value) and not server.asked


@pytest.mark.parametrize('spoil', [lambda data: data[:500], lambda data: data[:-9] + bytes(9), lambda data: b''])
def test_a_wrong_file_in_the_cache_is_fetched_again(spoil, server, cache, content, monkeypatch):
    cache.mkdir(parents=True)
    (cache / server.file).write_bytes(spoil(content))
    served(monkeypatch, f'{server.url}good/{server.file}')
    assert fetch_weights(NAME).read_bytes() == content and len(server.asked) == 1
    assert fetch_weights(NAME).read_bytes() == content and len(server.asked) == 1


@pytest.mark.parametrize('spoil', [lambda data: data[:500], lambda data: data[:-9] + bytes(9)])
def test_a_wrong_file_in_the_users_folder_is_an_error(spoil, server, tmp_path, content, monkeypatch):
    (tmp_path / 'mine').mkdir()
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path / 'mine'))
    served(monkeypatch, f'{server.url}good/{server.file}')
    (tmp_path / 'mine' / server.file).write_bytes(spoil(content))
    with pytest.raises(ValueError, match=f'mine/{server.file}.* RES2NET_MM_WEIGHTS .*another file.*; delete the file'):
        fetch_weights(NAME)
    assert not server.asked
    (tmp_path / 'mine' / server.file).write_bytes(content)
    assert fetch_weights(NAME) == tmp_path / 'mine' / server.file


def test_half_a_file_without_a_hash_is_noticed(server, tmp_path, content, monkeypatch):
    """Of one's own weights, and of those in safetensors format."""
    (tmp_path / 'mine').mkdir()
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path / 'mine'))
    (tmp_path / 'mine' / f'{NAME}.pth').write_bytes(content[:900])
    with pytest.raises(ValueError, match='no checkpoint .*the end of the archive is missing.*; delete the file'):
        fetch_weights(NAME)
    server.content = server.hub_content
    monkeypatch.delenv('RES2NET_MM_WEIGHTS')
    served(monkeypatch, f'{server.url}half/timm/a.in1k/resolve/main/model.safetensors')
    with pytest.raises(FileNotFoundError, match='no checkpoint .*safetensors: its tensors have'):
        fetch_weights(NAME)


def test_addresses_go_through_the_same_downloader_and_reader(server, cache):
    """Two files called alike stay two, by every way in."""
    install_reader()
    first = CheckpointLoader.load_checkpoint(f'{server.url}good/epoch_1.pth')['w']
    for address in (f'{server.url}page/epoch_1.pth', f'{server.url}hang/epoch_1.pth', f'{server.url}half/epoch_1.pth'):
        with pytest.raises(FileNotFoundError, match=f"'{address}' could not be had: it.*give the path of the file"):
            read_weights(address)
    assert torch.equal(read_weights(f'{server.url}good/epoch_1.pth')['w'], first)
    assert len(visible(cache)) == 1
    assert server.asked.count('/good/epoch_1.pth') == 1


def at_once(*urls):
    """Processes that fetch these addresses."""
    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=hub.fetch_url, args=(url, )) for url in urls]
    for process in processes:
        process.start()
    return processes


def test_of_several_processes_one_downloads(server, cache, content, monkeypatch):
    monkeypatch.setattr(transfer, 'SILENCE', 30)  # the host is slow, and so may be the machine
    processes = at_once(*[f'{server.url}slow/a.pth'] * 3)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0] and len(server.asked) == 1
    assert [(cache / name).read_bytes() for name in visible(cache)] == [content]


def test_another_goes_on_where_one_was_killed(server, cache, content, monkeypatch):
    [killed] = at_once(f'{server.url}hang_body/a.pth')
    while not any(part.stat().st_size for part in parts(cache)):
        time.sleep(0.02)
    [waiting] = at_once(f'{server.url}hang_body/a.pth')
    monkeypatch.setattr(Host, 'hang_body', Host.good)
    killed.kill()
    waiting.join()
    assert waiting.exitcode == 0 and server.headers[-1]['Range'] == 'bytes=100-' and not parts(cache)
    assert [(cache / name).read_bytes() for name in visible(cache)] == [content]


def test_a_dead_host_is_not_asked_by_each_that_waited(server):
    processes = at_once(*[f'{server.url}hang/a.pth'] * 4)
    for process in processes:
        process.join()
    assert all(process.exitcode for process in processes) and len(server.asked) < 4  # those that began in time wait


def test_a_lock_of_a_stopped_process_holds_up_nobody(server, cache, content, monkeypatch):
    monkeypatch.setattr(transfer, 'SILENCE', 0.3)
    (cache / '.locks').mkdir(parents=True)
    code = ('import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); '
            'print(flush=True); time.sleep(60)')
    served(monkeypatch, f'{server.url}good/{server.file}')
    with subprocess.Popen([sys.executable, '-c', code, cache / '.locks' / f'{server.file}.lock'],
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        start = time.monotonic()
        path, duration, holds = fetch_weights(NAME), time.monotonic() - start, holder.poll() is None
        holder.kill()
    assert path.read_bytes() == content and holds and duration < 2 * TIME_OUT


def test_progress_is_a_line_in_a_log_and_a_bar_on_a_terminal(server, monkeypatch, capsys):
    lines = []
    monkeypatch.setattr(download, 'print_log', lambda text, logger: lines.append(text))
    hub.fetch_url(f'{server.url}good/a.pth')
    assert lines[0].startswith(f'Downloading {server.url}good/a.pth to ') and capsys.readouterr().err == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    hub.fetch_url(f'{server.url}good/b.pth')
    assert '100%' in capsys.readouterr().err


# Trust on first use.


def replaced(server, folder):
    """Let the host have another checkpoint from now on."""
    write_checkpoint({'w': torch.zeros(999)}, folder / 'other.pth')
    server.content = (folder / 'other.pth').read_bytes()


def test_a_file_that_was_replaced_at_its_host_is_refused(server, cache, content, tmp_path, monkeypatch):
    served(monkeypatch, f'{server.url}good/model.pth/model.bin')
    path = fetch_weights(NAME)
    path.unlink()
    assert fetch_weights(NAME).read_bytes() == content
    path.unlink()
    replaced(server, tmp_path)
    with pytest.raises(FileNotFoundError, match='(?s)sent another file: its SHA-256 begins with [0-9a-f]{16} instead '
                       f'of [0-9a-f]{{16}}. When model.bin was first used, on 20.* from {server.url}.* replaced it.*'
                       f'python -m res2net_mm.weights download {NAME} --trust-new'):
        fetch_weights(NAME)
    assert visible(cache) == []
    [weights] = [row for row in sys.modules['res2net_mm.models.pretrained'].WEIGHTS if row.name == NAME]
    assert hub.fetch(weights, trust_new=True).read_bytes() == server.content
    assert fetch_weights(NAME).read_bytes() == server.content


def test_a_cached_file_that_changes_is_noticed(server, cache, content, tmp_path, monkeypatch):
    """Though it stays a checkpoint, and no hash of it is published."""
    path = hub.fetch_url(f'{server.url}good/a.pth')
    write_checkpoint({'w': torch.zeros(999)}, path, force=True)
    assert hub.fetch_url(f'{server.url}good/a.pth').read_bytes() == content and len(server.asked) == 2
    path.unlink()
    replaced(server, tmp_path)
    with pytest.raises(FileNotFoundError, match=f'accept it: delete {path.name} from .*res2net_mm/hashes.json'):
        hub.fetch_url(f'{server.url}good/a.pth')


def test_the_users_folder_is_checked_by_the_same_hashes(server, tmp_path, monkeypatch):
    served(monkeypatch, f'{server.url}good/model.pth/model.bin')
    fetch_weights(NAME)
    (tmp_path / 'mine').mkdir()
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path / 'mine'))
    write_checkpoint({'w': torch.zeros(999)}, tmp_path / 'mine' / 'model.bin')
    with pytest.raises(ValueError, match='mine/model.bin.*another file'):
        fetch_weights(NAME)


# The hub.


@pytest.fixture
def hugging(server, monkeypatch, tmp_path):
    """The local host as the hub, with the weights of Res2Net-50 26w4s there alone; the folder of its cache."""
    pytest.importorskip('huggingface_hub')
    monkeypatch.setenv('HF_ENDPOINT', server.url)
    served(monkeypatch, hub_address('good'))
    return tmp_path / 'home' / 'hf'


def test_the_hub_and_its_cache(server, hugging, monkeypatch):
    """Where huggingface_hub finds it, too; and what others have put there is taken from there."""
    path = fetch_weights(NAME)
    assert path.read_bytes() == server.hub_content and path.name == 'model.safetensors'
    assert path.resolve().name == hugging_face.named_hash(path) and hugging in path.parents
    from huggingface_hub import hf_hub_download, scan_cache_dir
    theirs = hf_hub_download('timm/good.in1k', 'model.safetensors', cache_dir=hugging, local_files_only=True)
    assert Path(theirs) == path
    assert [repository.repo_id for repository in scan_cache_dir(hugging).repos] == ['timm/good.in1k']
    asked = len(server.asked)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    assert fetch_weights(NAME) == path and len(server.asked) == asked


def test_the_hub_where_there_are_no_links(server, hugging, monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    path = fetch_weights(NAME)
    assert path.read_bytes() == server.hub_content and not path.is_symlink()
    assert fetch_weights(NAME) == path and len(server.asked) == 2


def test_offline_the_hub_is_not_asked(server, hugging, monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(FileNotFoundError, match='it is not asked, since HF_HUB_OFFLINE is set'):
        fetch_weights(NAME)
    assert not server.asked


def test_a_file_of_the_hub_is_continued_and_checked_by_its_etag(server, hugging, monkeypatch):
    served(monkeypatch, hub_address('short'))
    with pytest.raises(FileNotFoundError, match='it announced'):
        fetch_weights(NAME)
    monkeypatch.setattr(Host, 'short', Host.good)
    path = fetch_weights(NAME)
    assert path.read_bytes() == server.hub_content and server.headers[-1]['Range']
    path.resolve().write_bytes(server.hub_content[:-9] + bytes(9))  # by a broken disk, say
    (hugging.parent / 'hub' / 'res2net_mm' / 'hashes.json').unlink()
    assert fetch_weights(NAME).read_bytes() == server.hub_content


def test_a_new_file_at_the_hub_is_refused_before_it_is_fetched(server, hugging, tmp_path, monkeypatch):
    fetch_weights(NAME)
    for path in sorted(hugging.rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    write_checkpoint({'w': torch.zeros(999)}, tmp_path / 'other.safetensors')
    server.hub_content = (tmp_path / 'other.safetensors').read_bytes()
    asked = len(server.headers)
    with pytest.raises(FileNotFoundError, match='it has another file: its SHA-256 .* When .* --trust-new'):
        fetch_weights(NAME)
    assert len(server.headers) == asked


@pytest.mark.parametrize('etag', ['0' * 40, '../../' + '0' * 58, '../../../../outside'])
def test_a_hash_of_the_hub_that_is_none(etag, server, hugging):
    """It would be a name of a file."""
    server.etag = etag
    with pytest.raises(FileNotFoundError, match='it names no SHA-256'):
        fetch_weights(NAME)
    assert not list(hugging.rglob('*'))


def test_a_token_goes_to_the_hub_alone(server, hugging, tmp_path, monkeypatch):
    """Not to the host that it redirects to, nor to mirrors."""
    monkeypatch.setenv('HF_TOKEN', 'hf_secret')
    (tmp_path / 'other').mkdir()
    with local_host(tmp_path / 'other') as other:
        other.content = server.hub_content
        server.other = other.url
        served(monkeypatch, hub_address('moved'))
        assert fetch_weights(NAME).read_bytes() == server.hub_content
        assert server.headers[-1]['Authorization'] == 'Bearer hf_secret'
        assert other.asked == ['/good/model.safetensors'] and 'Authorization' not in other.headers[-1]


def test_the_hub_without_its_library(server, hugging, cache, monkeypatch):
    monkeypatch.setattr(hugging_face, 'find_spec', lambda name: None)
    path = fetch_weights(NAME)
    assert path == cache / 'good.in1k.safetensors' and path.read_bytes() == server.hub_content
