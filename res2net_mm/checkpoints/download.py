"""Downloads that end: with a whole file, or with an error that says why there is none."""
from __future__ import annotations

import hashlib
import queue
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Iterator
from urllib.request import Request, urlopen

import torch.hub
from mmengine.logging import print_log

from ..utils.whole_file import whole_file
from .reading import check_format

SILENCE = 30.0  # seconds in which a host must answer, and send at least a byte
WINDOW = 60.0  # seconds over which the speed is measured
SLOWEST = 2048  # bytes per second
MOST_BYTES = 20 << 30
KEEP_FREE = 256 << 20  # bytes of the disk
CHUNK = 1 << 18


class DownloadError(OSError):
    """A host did not send the file; the text says what it did."""


def download(url: str, path: Path, size: int | None = None, digest: str = '') -> None:
    """Download a checkpoint beside ``path``, check it, and rename it: ``path`` is never a part of a file.

    Several processes may do so at once. A progress bar is shown on a terminal, and a line in the log elsewhere.

    Args:
        url (str): The address (http, https or file).
        path (Path): Where to put it; what lies there is replaced.
        size (int | None): The bytes that it must have, if they are known. Defaults to None.
        digest (str): How its SHA-256 must begin, as far as that is known. Defaults to ''.

    Raises:
        DownloadError: If the host does not answer, stops, is too slow, or sends too much, too little or something else.
        OSError: If ``path`` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    print_log(f'Downloading {url} to {path}', logger='current')
    with whole_file(path) as file:
        for chunk in _receive(url, path.parent, size):
            file.write(chunk)
        file.flush()
        problem = find_problem(Path(file.name), size, digest)
        if problem:
            raise DownloadError(f'it sent {problem}')


def find_problem(path: Path, size: int | None = None, digest: str = '') -> str:
    """Say what is wrong with a file that was downloaded; '' if nothing is.

    Args:
        path (Path): The file.
        size (int | None): The bytes that it must have, if they are known. Defaults to None.
        digest (str): How its SHA-256 must begin; without it only the format is looked at. Defaults to ''.
    """
    length = path.stat().st_size
    if size is not None and length != size:
        return f'{length} bytes instead of {size}'
    if not digest:
        try:
            check_format(path)
        except ValueError as error:
            return f'no checkpoint ({str(error).replace(str(path), path.name)})'
        return ''
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            found.update(chunk)
    return '' if found.hexdigest().startswith(digest) else (
        f'another file: its SHA-256 begins with {found.hexdigest()[:8]} instead of {digest}')


def _receive(url: str, folder: Path, size: int | None) -> Iterator[bytes]:
    """What a host sends, as long as it sends; a thread waits for it, since nothing else ends every kind of wait."""
    if url.split(':')[0] not in ('http', 'https', 'file'):
        raise DownloadError('the address must begin with http:// or https://')
    received: queue.Queue[bytes | int | None | Exception] = queue.Queue(maxsize=16)
    stopped = threading.Event()
    threading.Thread(target=_request, args=(url, received, stopped), daemon=True).start()
    try:
        announced = _next(received, 'it has not answered')
        assert announced is None or isinstance(announced, int)
        most = min(MOST_BYTES, shutil.disk_usage(folder).free - KEEP_FREE, *([size] if size else []))
        if announced is not None and announced > most:
            raise DownloadError(f'it announces {announced} bytes, where {most} are expected or have room')
        bar = torch.hub.tqdm(total=announced, unit='B', unit_scale=True, disable=not sys.stderr.isatty())
        with bar:
            yield from _measured(received, announced, most, bar)
    finally:
        stopped.set()


def _measured(received: queue.Queue, announced: int | None, most: int, bar: torch.hub.tqdm) -> Iterator[bytes]:
    total, window_start, window_bytes = 0, time.monotonic(), 0
    while True:
        chunk = _next(received, f'it has sent nothing more after {total} bytes')
        if not chunk:
            break
        assert isinstance(chunk, bytes)
        total += len(chunk)
        window_bytes += len(chunk)
        bar.update(len(chunk))
        if total > most:
            raise DownloadError(f'it sends more than {most} bytes, what is expected or has room')
        duration = time.monotonic() - window_start
        if duration > WINDOW:
            if window_bytes < SLOWEST * duration:
                raise DownloadError(f'it sends {window_bytes / duration:.0f} bytes per second, and {SLOWEST} are the '
                                    'least')
            window_start, window_bytes = time.monotonic(), 0
        yield chunk
    if announced is not None and total != announced:
        raise DownloadError(f'it announced {announced} bytes, and sent {total}')


def _next(received: queue.Queue, silence: str) -> bytes | int | None:
    try:
        item = received.get(timeout=SILENCE)
    except queue.Empty:
        raise DownloadError(f'{silence} for {SILENCE:g} s') from None
    if isinstance(item, Exception):
        raise DownloadError(f'{type(item).__name__}: {item}') from item
    return item


def _request(url: str, received: queue.Queue, stopped: threading.Event) -> None:
    """Put the announced length (or None), the chunks, and b'' at the end; or an exception."""

    def put(item: bytes | int | None | Exception) -> None:
        while not stopped.is_set():
            try:
                return received.put(item, timeout=1)
            except queue.Full:
                continue
        raise InterruptedError

    with suppress(InterruptedError):
        try:
            # Whoever waits for this thread has the clock; this time-out only ends the thread, some time after.
            with urlopen(Request(url, headers={'User-Agent': 'res2net_mm'}), timeout=2 * SILENCE) as response:
                length = response.headers.get('Content-Length')
                put(int(length) if length else None)
                for chunk in iter(lambda: response.read1(CHUNK), b''):
                    put(chunk)
                put(b'')
        except InterruptedError:
            raise
        except Exception as error:
            put(error)
