"""Downloads that end: with a whole file, or with an error that says why there is none."""
from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Iterator, Mapping

import torch.hub
from filelock import FileLock, Timeout
from mmengine.logging import print_log

from ..utils.whole_file import NO_SPACE, UNFINISHED, NoSpaceError, flush_folder, mebibytes, missing_space
from . import transfer
from .reading import check_format
from .transfer import CutError, DownloadError, Transfer, open_transfer

MOST_BYTES = 20 << 30
KEEP_FREE = 256 << 20  # bytes of the disk
ATTEMPTS = 10  # to have a file from a host that cuts it off, as long as each brings so many bytes:
WORTH_ASKING_AGAIN = 1 << 20
PART = '.part'


class AnotherFileError(DownloadError):
    """A host sent a whole file, and not the right one."""


def download(url: str, path: Path, size: int | None = None, digest: str = '',
             headers: Mapping[str, str] | None = None, lock: Path | None = None) -> None:
    """Download a checkpoint beside ``path``, check it, and rename it: ``path`` is never a part of a file.

    What a host has sent before it stopped is kept, as ``.NAME.….part``, and continued the next time, if it can be told
    that it is of the same version: the host names versions (an ETag or a date), or ``digest`` is known. A continued
    file that is not right is fetched whole, once. Of several processes one fetches a file and the others wait for it.
    A progress bar is shown on a terminal, and a line in the log elsewhere.

    Args:
        url (str): The address (http, https or file).
        path (Path): Where to put it; a wrong file that lies there is replaced.
        size (int | None): The bytes that it must have, if they are known. Defaults to None.
        digest (str): How its SHA-256 must begin, as far as that is known. Defaults to ''.
        headers (Mapping[str, str] | None): For the host, not for those that it redirects to. Defaults to None.
        lock (Path | None): A file to lock meanwhile. Defaults to None, one in the folder ``.locks`` beside ``path``.

    Raises:
        DownloadError: If the host does not answer, stops, is too slow, or sends too much, too little or something else.
        NoSpaceError: If the disk has no room for it.
        OSError: If ``path`` cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock or path.parent / '.locks' / f'{path.name}.lock'
    with _one_at_a_time(path, url, lock) as alone:
        if path.is_file() and not find_problem(path, size, digest):
            return  # another process has fetched it
        print_log(f'Downloading {url} to {path}', logger='current')
        whole = _Fetch(url, path, size, digest, headers or {}, alone).run()
        os.replace(whole, path)
        flush_folder(path.parent)
        for part in _parts(path):
            part.unlink(missing_ok=True)


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
    found = hash_file(path)
    shown = max(len(digest) if len(digest) < 64 else 16, 8)
    return '' if found.startswith(digest) else (
        f'another file: its SHA-256 begins with {found[:shown]} instead of {digest[:shown]}')


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            found.update(chunk)
    return found.hexdigest()


class _Fetch:
    """One file from one host, in as many attempts as are worth it."""

    def __init__(self, url: str, path: Path, size: int | None, digest: str, headers: Mapping[str, str],
                 alone: bool) -> None:
        self.url, self.path, self.size, self.digest, self.headers = url, path, size, digest, headers
        self.alone = alone  # only then what is left may be continued

    def run(self) -> Path:
        """Fetch the file, and return where it lies."""
        part = self._find_part()
        continued = part is not None  # what an earlier call has left
        for _ in range(ATTEMPTS):
            before = part.stat().st_size if part else 0
            try:
                written = self._receive(part)
            except CutError as error:
                cut, part = error, self._find_part()
                if not part or part.stat().st_size < before + WORTH_ASKING_AGAIN:
                    raise
                continue
            problem = find_problem(written, self.size, self.digest)
            if not problem:
                return written
            written.unlink()
            if not continued:
                raise AnotherFileError(f'it sent {problem}')
            part, continued = None, False
        raise cut

    def _find_part(self) -> Path | None:
        return next(iter(_parts(self.path, self.url)), None) if self.alone else None

    def _receive(self, part: Path | None) -> Path:
        start = part.stat().st_size if part else 0
        with open_transfer(self.url, start, self.headers) as answer:
            kept = self._part_of(answer)
            if part and part != kept:  # of another version
                part.unlink()
            if not answer.start or (part == kept and answer.start == start):
                return self._write(answer, kept)
        with open_transfer(self.url, 0, self.headers) as answer:
            return self._write(answer, self._part_of(answer))

    def _write(self, answer: Transfer, kept: Path | None) -> Path:
        most = min(MOST_BYTES, self.size or MOST_BYTES)
        room = answer.start + shutil.disk_usage(self.path.parent).free - KEEP_FREE
        if answer.total is not None and answer.total > most:
            raise DownloadError(f'it announces {answer.total} bytes, where {most} are expected')
        if answer.total is not None and answer.total > room:
            raise NoSpaceError(errno.ENOSPC, f"there is no room in '{self.path.parent}': the file takes "
                               f'{mebibytes(answer.total)}, and {mebibytes(KEEP_FREE)} of the disk must stay free')
        written = kept or self.path.with_name(
            f'.{self.path.name}.{os.getpid()}.{threading.get_ident()}{UNFINISHED}')
        whole_or_kept = False
        try:
            with open(written, 'ab' if answer.start else 'wb') as file, torch.hub.tqdm(
                    total=answer.total, initial=answer.start, unit='B', unit_scale=True,
                    disable=not sys.stderr.isatty()) as bar:
                for chunk in answer.chunks(min(most, room)):
                    file.write(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            whole_or_kept = True
        except (CutError, KeyboardInterrupt):
            whole_or_kept = kept is not None and written.stat().st_size > 0
            raise
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            written.unlink()  # before the free space is measured
            text = f"'{self.path}' was not written: {missing_space(self.path.parent, answer.total)}"
            raise NoSpaceError(error.errno, text) from error
        finally:
            if not whole_or_kept:
                written.unlink(missing_ok=True)
        return written

    def _part_of(self, answer: Transfer) -> Path | None:
        """Where to keep what has arrived of this version of the file; None if versions cannot be told apart."""
        if not self.alone or answer.total is None or not (answer.version or self.digest):
            return None
        version = _short_hash(f'{answer.version} {answer.total} {self.digest}')
        return self.path.with_name(f'.{self.path.name}.{_short_hash(self.url)}-{version}{PART}')


def _parts(path: Path, url: str = '') -> list[Path]:
    """What was kept of a file, from one address or from all."""
    address = _short_hash(url) if url else '?' * 12
    return sorted(path.parent.glob(f'.{escape(path.name)}.{address}-{"?" * 12}{PART}'))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def _one_at_a_time(path: Path, url: str, lock: Path) -> Iterator[bool]:
    """Wait while another process of this machine fetches the file, as long as that one gets on.

    The lock is one of the operating system, which ends with the process that has it. Yields whether it was had: some
    file systems have none, and a process that is stopped keeps it. What the other one was told by the same host in the
    meantime is not asked again.

    Raises:
        DownloadError: As the other process, if that one failed.
    """
    failure = lock.with_suffix('.failure')
    started = time.time()
    held = _acquire(path, lock)
    try:
        if held and failure.is_file() and failure.stat().st_mtime > started:
            failed_url, _, text = failure.read_text(encoding='utf-8').partition('\n')
            if failed_url == url:
                raise DownloadError(text)
        try:
            yield held is not None
        except DownloadError as error:
            if held:
                failure.write_text(f'{url}\n{error}', encoding='utf-8')
            raise
        else:
            failure.unlink(missing_ok=True)
    finally:
        if held:
            held.release()


def _acquire(path: Path, lock: Path) -> FileLock | None:
    lock.parent.mkdir(parents=True, exist_ok=True)
    held, state, since = FileLock(str(lock)), -1, time.monotonic()
    while True:
        try:
            held.acquire(timeout=0.2, poll_interval=0.05)
            return held
        except Timeout:
            grown = sum(file.stat().st_size for file in path.parent.glob(f'.{escape(path.name)}.*') if file.is_file())
            if grown != state:
                state, since = grown, time.monotonic()
            elif time.monotonic() - since > 2 * transfer.SILENCE:
                return None
        except (NotImplementedError, OSError):  # a file system without locks, such as some of a network
            return None
