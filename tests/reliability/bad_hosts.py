"""A local host of weights with every fault, and the matrix of faults and kinds of hosts.

    python tests/reliability/bad_hosts.py    # prints the table of docs/reliability.md
"""
import hashlib
import os
import re
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from res2net_mm.checkpoints import download, hub, hugging_face, transfer
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.weights import WeightFile, Weights, hashed_file

ANSWERED = 'it has not (answered|said what the file is) for 0.6 s|timed out|Timeout'
ANOTHER = 'it sent another file: its SHA-256 begins with|it sent \\d+ bytes instead of|no checkpoint'
STOPPED = 'it has sent nothing more after \\d+ bytes for 0.6 s|timed out'
FAULTS = {  # kind of host: how the table calls it, what is said of it (None: nothing), whether a part is kept
    'refused': ('refuses', 'refused', False),
    'missing': ('404', '404', False),
    'error': ('500', '500|it has not said', False),  # which some versions of huggingface_hub ask again
    'hang': ('never answers', ANSWERED, False),
    'drip_headers': ('answers a byte at a time', ANSWERED, False),
    'hang_body': ('stops in the middle', STOPPED, True),
    'drip': ('sends 10 bytes a second', 'it sends \\d+ bytes per second, and 2048 are the least', True),
    'short': ('cuts off', 'it announced \\d+ bytes, and sent \\d+', True),
    'half': ('sends half, as if it were all', ANOTHER, False),
    'wrong': ('sends other bytes', ANOTHER, False),
    'page': ('sends a web page', ANOTHER, False),
    'endless': ('sends without end', 'it sends more than \\d+ bytes', False),
    'huge': ('announces too much', 'it announces 1125899906842624 bytes, where \\d+', False),
    'slow': ('is slow, and gets on', None, False),
}
SOURCES = ('hub, by huggingface_hub', 'hub, without it', 'mirror', 'last mirror')
TIME_OUT = 5 * 1.2  # seconds; the longest time-out here is 1.2


class Host(BaseHTTPRequestHandler):
    """Answers as the path says: ``/KIND/FILE`` with ``server.content``, ``/timm/KIND.in1k/…`` as the hub does.

    What was asked is in ``server.asked``, the headers of it in ``server.headers``.
    """

    def log_message(self, *_):
        pass

    @property
    def of_hub(self):
        return self.path.startswith('/timm/')

    @property
    def kind(self):
        return self.path.split('/')[2 if self.of_hub else 1].split('.')[0]

    def begin(self, length, start=0):
        content = self.server.hub_content if self.of_hub else self.server.content
        self.send_response(206 if start else 200)
        self.send_header('ETag', f'"{self.server.etag or hashlib.sha256(content).hexdigest()}"')
        if self.of_hub:
            self.send_header('X-Repo-Commit', '0' * 40)
            self.send_header('X-Linked-Size', str(len(content)))
        if start:
            self.send_header('Content-Range', f'bytes {start}-{start + length - 1}/{start + length}')
        if length is not None:
            self.send_header('Content-Length', str(length))
        self.end_headers()

    def do_HEAD(self):  # noqa: N802
        self.server.asked.append(f'HEAD {self.path}')
        if self.kind in ('hang', 'drip_headers', 'missing', 'error'):
            getattr(self, self.kind)(b'')
        else:
            self.begin(len(self.server.hub_content))

    def do_GET(self):  # noqa: N802
        self.server.asked.append(self.path)
        self.server.headers.append(self.headers)
        with suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, self.kind)(self.server.hub_content if self.of_hub else self.server.content)

    def good(self, content):
        """As a host does that continues downloads."""
        part = re.match(r'bytes=(\d+)-', self.headers.get('Range', ''))
        start = int(part[1]) if part else 0
        if start < len(content):
            self.begin(len(content) - start, start)
            self.wfile.write(content[start:])
        else:
            self.send_error(416)

    def whole(self, content):
        self.begin(len(content))
        self.wfile.write(content)

    def unannounced(self, content):
        self.begin(None)
        self.wfile.write(content)

    def moved(self, content):
        self.send_response(302)
        self.send_header('Location', f'{self.server.other}good/{self.path.split("/")[-1]}')
        self.end_headers()

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

    def cuts(self, content):
        """A quarter at a time."""
        part = re.match(r'bytes=(\d+)-', self.headers.get('Range', ''))
        start = int(part[1]) if part else 0
        self.begin(len(content) - start, start)
        self.wfile.write(content[start:start + len(content) // 4 + 1])

    def half(self, content):
        self.whole(content[:len(content) // 2])

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
        self.whole(content[:-9] + bytes(9))

    def page(self, content):
        self.whole(b'<html>please log in</html>')

    def slow(self, content):
        self.begin(len(content))
        for i in range(0, len(content), len(content) // 5 + 1):
            self.wfile.write(content[i:i + len(content) // 5 + 1])
            self.wfile.flush()
            self.server.stopped.wait(0.2)


@contextmanager
def local_host(folder):
    """A host on this machine with a checkpoint in both formats."""
    write_checkpoint({'w': torch.arange(999.)}, folder / 'w.pth')
    write_checkpoint({'w': torch.arange(999.)}, folder / 'w.safetensors')
    host = ThreadingHTTPServer(('127.0.0.1', 0), Host)
    host.daemon_threads = True
    host.content, host.hub_content = (folder / 'w.pth').read_bytes(), (folder / 'w.safetensors').read_bytes()
    host.asked, host.headers, host.stopped, host.etag = [], [], threading.Event(), ''
    host.url = f'http://127.0.0.1:{host.server_port}/'
    host.file = f'net-{hashlib.sha256(host.content).hexdigest()[:8]}.pth'
    threading.Thread(target=host.serve_forever, args=(0.05, ), daemon=True).start()
    try:
        yield host
    finally:
        host.stopped.set()
        host.shutdown()
        host.server_close()


def prepare(patch, home):
    """Empty caches in a folder, and patience for a second."""
    for name in ('RES2NET_MM_WEIGHTS', 'HF_ENDPOINT', 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_TOKEN'):
        patch.delenv(name, raising=False)
    patch.setenv('TORCH_HOME', str(home))
    patch.setenv('no_proxy', '*')
    patch.setattr(transfer, 'SILENCE', 0.6)
    patch.setattr(transfer, 'WINDOW', 0.9)
    patch.setattr(download, 'MOST_BYTES', 3 << 20)
    patch.setattr(hugging_face, '_cache', lambda: str(home / 'hf'))


def hub_address(kind):
    return f'https://huggingface.co/timm/{kind}.in1k/resolve/main/model.safetensors'


def meet(source, fault, host, home, patch):
    """Fetch weights from a kind of host with a fault, and from a good one behind it unless it is the last.

    Returns:
        tuple: The path or the error; the seconds; the unfinished files that are left.
    """
    prepare(patch, home)
    url = 'http://127.0.0.1:9/' if fault == 'refused' else host.url
    files = [hashed_file(f'{url}{fault}/{host.file}')]
    if source.startswith('hub'):
        patch.setenv('HF_ENDPOINT', url)
        files = [WeightFile(hub_address(fault))]
    if source == 'hub, without it':
        patch.setattr(hugging_face, 'find_spec', lambda name: None)
    if source != 'last mirror':
        files.append(hashed_file(f'{host.url}good/{host.file}'))
    start = time.monotonic()
    try:
        outcome = hub.fetch(Weights('net', 'net', tuple(files), 'none'))
    except FileNotFoundError as error:
        outcome = error
    duration = time.monotonic() - start
    left = [path.name for path in home.rglob('.*') if path.suffix in ('.part', '.unfinished')]
    return outcome, duration, left


def main():
    print('| the host | ' + ' | '.join(SOURCES) + ' |\n|' + '---|' * (len(SOURCES) + 1))
    with tempfile.TemporaryDirectory() as folder, local_host(Path(folder)) as host:
        for fault, (title, *_) in FAULTS.items():
            cells = []
            for source in SOURCES:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(hub, 'print_log', lambda *_, **__: None)
                    patch.setattr(download, 'print_log', lambda *_, **__: None)
                    home = Path(folder) / f'{fault} {source}'
                    outcome, duration, left = meet(source, fault, host, home, patch)
                found = 'error' if isinstance(outcome, Exception) else 'next host' if outcome.name == host.file and (
                    source != 'last mirror') and f'/{fault}/' not in host.asked[-1] else 'taken'
                cells.append(f'{found}, {duration:.1f} s' + (', continued next time' if left else ''))
            print(f'| {title} | ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
    os.environ['OMP_NUM_THREADS'] = '1'
    main()
