"""What a host sends, for as long as it sends: no wait is without an end."""
from __future__ import annotations

import queue
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPMessage
from typing import Any, Callable, Iterator, Mapping
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SILENCE = 30.0  # seconds in which a host must answer, and send at least a byte
WINDOW = 60.0  # seconds over which the speed is measured
SLOWEST = 2048  # bytes per second
CHUNK = 1 << 18


class DownloadError(OSError):
    """A host did not send the file; the text says what it did."""


class CutError(DownloadError):
    """A host stopped, or became too slow, within the file; what has arrived may be continued."""


@dataclass(frozen=True)
class Transfer:
    """The answer of a host, and what follows it.

    Args:
        start (int): The place in the file of the first byte that follows; 0 where the host sends the whole file.
        total (int | None): The bytes of the whole file, if the host has announced them.
        version (str): What the host calls this version of the file, its ETag or date; '' if it does not.
        received (queue.Queue): Chunks, b'' at the end, or an exception.
    """

    start: int
    total: int | None
    version: str
    received: queue.Queue

    def chunks(self, most: int) -> Iterator[bytes]:
        """Yield what arrives.

        Args:
            most (int): How many bytes the whole file may have.

        Raises:
            CutError: If the host sends nothing more, too little, or too slowly.
            DownloadError: If it sends too much.
        """
        total, window_start, window_bytes = self.start, time.monotonic(), 0
        while True:
            try:
                chunk = _next(self.received, f'it has sent nothing more after {total} bytes')
            except DownloadError as error:
                raise CutError(str(error)) from error
            if not chunk:
                break
            total += len(chunk)
            window_bytes += len(chunk)
            if total > most:
                raise DownloadError(f'it sends more than {most} bytes, what is expected or has room')
            duration = time.monotonic() - window_start
            if duration > WINDOW:
                if window_bytes < SLOWEST * duration:
                    raise CutError(f'it sends {window_bytes / duration:.0f} bytes per second, and {SLOWEST} are the '
                                   'least')
                window_start, window_bytes = time.monotonic(), 0
            yield chunk
        if self.total is not None and total < self.total:
            raise CutError(f'it announced {self.total} bytes, and sent {total}')
        if self.total is not None and total > self.total:
            raise DownloadError(f'it announced {self.total} bytes, and sent {total}')


@contextmanager
def open_transfer(url: str, start: int = 0, headers: Mapping[str, str] | None = None) -> Iterator[Transfer]:
    """Ask a host for a file, or for what follows its first bytes.

    Args:
        url (str): The address (http, https or file).
        start (int): How many bytes are there already; a host may send them again (``Transfer.start``). Defaults to 0.
        headers (Mapping[str, str] | None): Sent to this host, and to none that it redirects to: they may hold a token.
            Defaults to None.

    Raises:
        DownloadError: If the host does not answer, or has no such file.
    """
    if url.split(':')[0] not in ('http', 'https', 'file'):
        raise DownloadError('the address must begin with http:// or https://')
    received: queue.Queue = queue.Queue(maxsize=16)
    stopped = threading.Event()
    threading.Thread(target=_receive, args=(url, start, headers or {}, received, stopped), daemon=True).start()
    try:
        first, total, version = _next(received, 'it has not answered')
        yield Transfer(first, total, version, received)
    finally:
        stopped.set()


def call_in_time(function: Callable[[], Any], silence: str) -> Any:
    """Call a function that asks a host, and return what it returns; after ``SILENCE`` seconds nobody waits for it.

    Args:
        function (Callable): The function; it must end by itself at some time.
        silence (str): What to say of the host then, before the number of seconds.

    Raises:
        DownloadError: If it takes longer, or raises an exception.
    """
    received: queue.Queue = queue.Queue()

    def run() -> None:
        try:
            received.put(function())
        except Exception as error:  # of any library that asks
            received.put(error)

    threading.Thread(target=run, daemon=True).start()
    return _next(received, silence)


def _next(received: queue.Queue, silence: str) -> Any:
    try:
        item = received.get(timeout=SILENCE)
    except queue.Empty:
        raise DownloadError(f'{silence} for {SILENCE:g} s') from None
    if isinstance(item, DownloadError):
        raise item
    if isinstance(item, Exception):
        text = next(iter(str(item).splitlines()), '')
        raise DownloadError(f'{type(item).__name__}: {text}') from item
    return item


def _receive(url: str, start: int, headers: Mapping[str, str], received: queue.Queue,
             stopped: threading.Event) -> None:
    """Put the start, the length and the version, the chunks, and b'' at the end; or an exception."""

    def put(item: Any) -> None:
        while not stopped.is_set():
            try:
                return received.put(item, timeout=1)
            except queue.Full:
                continue
        raise InterruptedError

    with suppress(InterruptedError):
        try:
            with _ask(url, start, headers) as response:
                put(_described(response.headers))
                for chunk in iter(partial(response.read1, CHUNK), b''):
                    put(chunk)
                put(b'')
        except InterruptedError:
            raise
        except Exception as error:
            put(error)


def _ask(url: str, start: int, headers: Mapping[str, str]) -> Any:
    request = Request(url, headers={'User-Agent': 'res2net_mm'})
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    if start:
        request.add_header('Range', f'bytes={start}-')
    try:
        # Whoever waits for this thread has the clock; this time-out only ends the thread, some time after.
        return urlopen(request, timeout=2 * SILENCE)
    except HTTPError as error:
        if start and error.code == 416:  # the file ends before: it is another one
            return _ask(url, 0, headers)
        raise


def _described(headers: HTTPMessage) -> tuple[int, int | None, str]:
    """Where what follows begins, the length of the whole file, and its version."""
    etag = headers.get('ETag', '')
    version = headers.get('Last-Modified', '') if etag.startswith('W/') or not etag else etag
    part = re.match(r'bytes (\d+)-\d+/(\d+)', headers.get('Content-Range', ''))
    if part:
        return int(part[1]), int(part[2]), version
    length = headers.get('Content-Length')
    return 0, int(length) if length else None, version
