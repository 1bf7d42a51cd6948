"""Downloads: every kind of bad host ends in time, the next one is asked, and a wrong file is never taken up."""
import hashlib
import multiprocessing
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.runner import CheckpointLoader

from res2net_mm.checkpoints import download, hub
from res2net_mm.checkpoints.files import install_reader, write_checkpoint
from res2net_mm.models import names
from res2net_mm.models.pretrained import fetch_weights, read_weights

NAME = 'res2net50_26w4s'
ENOUGH = 5 * 1.2  # seconds; the longest time-out here is 1.2


class Host(BaseHTTPRequestHandler):
    """Answers by the first part of the path with ``server.content``; what was asked is in ``server.asked``."""

    def log_message(self, *_):
        pass

    def begin(self, length):
        self.send_response(200)
        if length is not None:
            self.send_header('Content-Length', str(length))
        self.end_headers()

    def do_GET(self):  # noqa: N802
        kind, content = self.path.split('/')[1], self.server.content
        self.server.asked.append(self.path)
        try:
            getattr(self, kind)(content)
        except (BrokenPipeError, ConnectionResetError):
            self.server.left.append(kind)

    def good(self, content):
        self.begin(len(content))
        self.wfile.write(content)

    def unannounced(self, content):
        self.begin(None)
        self.wfile.write(content)

    def hang(self, content):
        self.server.stopped.wait()

    def drip_headers(self, content):
        while not self.server.stopped.wait(0.1):
            self.wfile.write(b'H')
            self.wfile.flush()

    def hang_body(self, content):
        self.begin(len(content))
        self.wfile.write(content[:100])
        self.wfile.flush()
        self.server.stopped.wait()

    def drip(self, content):
        self.begin(len(content))
        for i in range(len(content)):
            self.wfile.write(content[i:i + 1])
            self.wfile.flush()
            if self.server.stopped.wait(0.1):
                break

    def short(self, content):
        self.begin(len(content))
        self.wfile.write(content[:len(content) // 2])

    def half(self, content):
        self.good(content[:len(content) // 2])

    def endless(self, content):
        self.begin(None)
        while not self.server.stopped.is_set():
            self.wfile.write(bytes(1 << 18))

    def huge(self, content):
        self.begin(1 << 50)
        self.server.stopped.wait()

    def missing(self, content):
        self.send_error(404)

    def error(self, content):
        self.send_error(500)

    def wrong(self, content):
        self.good(content[:-9] + bytes(9))

    def page(self, content):
        self.good(b'<html>please log in</html>')

    def slow(self, content):
        self.begin(len(content))
        for i in range(0, len(content), len(content) // 5 + 1):
            self.wfile.write(content[i:i + len(content) // 5 + 1])
            self.wfile.flush()
            self.server.stopped.wait(0.2)


BAD = {  # kind of host: what is said of it
    'hang': 'it has not answered for 0.6 s|timed out',
    'drip_headers': 'it has not answered for 0.6 s',
    'hang_body': 'it has sent nothing more after 100 bytes for 0.6 s|timed out',
    'drip': r'it sends \d+ bytes per second, and 2048 are the least',
    'short': r'it announced \d+ bytes, and sent \d+',
    'endless': 'it sends more than 3145728 bytes',
    'huge': 'it announces 1125899906842624 bytes, where 3145728',
    'missing': 'HTTP Error 404',
    'error': 'HTTP Error 500',
    'wrong': 'it sent another file: its SHA-256 begins with',
    'page': 'it sent another file: its SHA-256 begins with',
    'half': 'it sent another file: its SHA-256 begins with',
}


@pytest.fixture
def content(tmp_path):
    write_checkpoint({'w': torch.arange(999.)}, tmp_path / 'w.pth')
    return (tmp_path / 'w.pth').read_bytes()


@pytest.fixture
def server(content, monkeypatch, tmp_path):
    """A local host, an empty cache, and patience for a second."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.delenv('RES2NET_MM_WEIGHTS', raising=False)
    monkeypatch.setattr(download, 'SILENCE', 0.6)
    monkeypatch.setattr(download, 'WINDOW', 0.9)
    monkeypatch.setattr(download, 'MOST_BYTES', 3 << 20)
    host = ThreadingHTTPServer(('127.0.0.1', 0), Host)
    host.daemon_threads = True
    host.content, host.asked, host.left, host.stopped = content, [], [], threading.Event()
    host.url = f'http://127.0.0.1:{host.server_port}/'
    host.file = f'net-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    threading.Thread(target=host.serve_forever, args=(0.05, ), daemon=True).start()
    yield host
    host.stopped.set()
    host.shutdown()
    host.server_close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / 'home' / 'hub' / 'checkpoints'


def served(monkeypatch, *urls, size=None):
    """Let the weights of Res2Net-50 26w4s be at these addresses only."""
    rows = [replace(row, weights=(replace(row.weights[0], urls=urls, size=size), )) if row.name == NAME else row
            for row in names.ARCHITECTURES]
    monkeypatch.setattr('res2net_mm.models.names.ARCHITECTURES', rows)
    monkeypatch.setattr('res2net_mm.models.pretrained.ARCHITECTURES', rows)


@pytest.mark.parametrize('kind', BAD)
def test_a_bad_host_is_left_in_time_and_the_next_one_asked(kind, server, cache, content, monkeypatch):
    start = time.monotonic()
    served(monkeypatch, f'{server.url}{kind}/{server.file}')
    with pytest.raises(FileNotFoundError, match=BAD[kind]) as error:
        fetch_weights(NAME)
    assert f'{server.url}{kind}/{server.file}' in str(error.value)
    assert not cache.exists() or list(cache.iterdir()) == []
    served(monkeypatch, f'{server.url}{kind}/{server.file}', f'{server.url}good/{server.file}')
    assert fetch_weights(NAME).read_bytes() == content
    assert [path.name for path in cache.iterdir()] == [server.file]
    assert time.monotonic() - start < ENOUGH


def test_a_host_that_refuses(server, cache, content, monkeypatch):
    served(monkeypatch, f'http://127.0.0.1:9/{server.file}', f'{server.url}unannounced/{server.file}')
    assert fetch_weights(NAME).read_bytes() == content


def test_a_slow_host_is_waited_for(server, content, monkeypatch):
    """It sends every 0.2 seconds, for longer than a silence may be."""
    served(monkeypatch, f'{server.url}slow/{server.file}')
    assert fetch_weights(NAME).read_bytes() == content


def test_the_published_size_is_a_bound(server, monkeypatch):
    served(monkeypatch, f'{server.url}good/{server.file}', size=100)
    with pytest.raises(FileNotFoundError, match='it announces .* where 100 are expected'):
        fetch_weights(NAME)


def test_a_full_disk_is_not_filled_up(server, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: type('Usage', (), dict(free=download.KEEP_FREE + 1000)))
    served(monkeypatch, f'{server.url}endless/{server.file}')
    with pytest.raises(FileNotFoundError, match='it sends more than 1000 bytes'):
        fetch_weights(NAME)


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
    write_checkpoint({'w': torch.ones(999)}, tmp_path / 'a.safetensors')
    server.content = (tmp_path / 'a.safetensors').read_bytes()
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
    assert len(list(cache.iterdir())) == 1
    assert server.asked.count('/good/epoch_1.pth') == 1


def test_processes_at_once_and_one_that_is_killed(server, cache, content):
    fork = multiprocessing.get_context('fork')
    killed, *others = [fork.Process(target=hub.fetch_url, args=(f'{server.url}slow/a.pth', )) for _ in range(3)]
    for process in (killed, *others):
        process.start()
    while len(server.asked) < 3:
        time.sleep(0.02)
    killed.kill()
    for process in (killed, *others):
        process.join()
    assert [process.exitcode for process in (killed, *others)] == [-9, 0, 0]
    whole, unfinished = sorted(cache.iterdir(), key=lambda path: path.name.startswith('.'))
    assert whole.read_bytes() == content and unfinished.name.endswith('.unfinished')


def test_progress_is_a_line_in_a_log_and_a_bar_on_a_terminal(server, monkeypatch, capsys):
    lines = []
    monkeypatch.setattr(download, 'print_log', lambda text, logger: lines.append(text))
    hub.fetch_url(f'{server.url}good/a.pth')
    assert lines[0].startswith(f'Downloading {server.url}good/a.pth to ') and capsys.readouterr().err == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    hub.fetch_url(f'{server.url}good/b.pth')
    assert '100%' in capsys.readouterr().err
