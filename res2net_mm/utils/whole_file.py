"""Files and folders that are whole or not there, however the process that writes them ends."""
from __future__ import annotations

import errno
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNFINISHED = '.unfinished'


class NoSpaceError(OSError):
    """A disk has no room for a file. Nothing of the file is left, and what it was to replace is as before."""

    def __str__(self) -> str:
        return str(self.strerror)  # without the number that OSError puts before it


@contextmanager
def whole_file(path: str | Path, size: int | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write, which takes its name when it is complete and on the disk.

    It is written beside it, as ``.NAME.PROCESS.THREAD.unfinished``; a killed process leaves that and nothing else.
    Whoever reads ``path`` at any time has all of the old content or all of the new. After an error it has the old.

    Args:
        path (str | Path): The file; its folder must be there.
        size (int | None): What the content takes in bytes, for the message, where that is known. Defaults to None.
        durable (bool): Whether it outlasts a power failure, too; waiting for the disk is slow where there are thousands
            of files that can be made again. Defaults to True.

    Raises:
        NoSpaceError: If there is no room for it; the message says how much is missing.
        OSError: If it cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}.{threading.get_ident()}{UNFINISHED}')
    try:
        with open(unfinished, 'wb') as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        unfinished.unlink()  # before the free space is measured
        raise NoSpaceError(error.errno, f"'{path}' was not written: {missing_space(path.parent, size)}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    if durable:
        flush_folder(path.parent)


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Name a folder to make, ``.NAME.unfinished``, which takes the name of ``path`` when it is complete.

    After an error nothing of it is left; what a killed process leaves is removed by the next.

    Args:
        path (str | Path): The folder; there must be none of the name, or an empty one.

    Yields:
        Path: The folder to make.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}{UNFINISHED}')
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def missing_space(folder: Path, size: int | None) -> str:
    """What a file takes, what its disk has, and how much is missing, as text; a quota may be less than the disk."""
    free = shutil.disk_usage(folder).free
    text = f'its disk has {mebibytes(free)} free'
    if size is None:
        return text
    missing = f'{mebibytes(size - free)} are missing' if free < size else 'a quota allows less'
    return f'it takes {mebibytes(size)}, and {text}; {missing}'


def mebibytes(size: int) -> str:
    """A number of bytes as text: '12.3 MiB'."""
    return f'{size / 2**20:.1f} MiB'


def unfinished_files(folder: str | Path) -> list[Path]:
    """What killed processes have left in a folder."""
    return sorted(Path(folder).glob(f'.*{UNFINISHED}'))


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, too, where the file system can do it."""
    if not hasattr(os, 'O_DIRECTORY'):  # Windows
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:  # not every file system knows it
        pass
    finally:
        os.close(descriptor)
