"""What a run saves through mmengine survives a kill, a crash and a full disk."""
from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend, register_backend

from ..utils.whole_file import whole_file


class WholeFileBackend(LocalBackend):
    """mmengine's backend of local files, but no file is ever there by half (``res2net_mm.utils.whole_file``)."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file; its folder is made where there is none.

        Raises:
            NoSpaceError: If there is no room for it; the message says how much is missing.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, len(obj)) as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text; as ``put``."""
        self.put(obj.encode(encoding), filepath)


@contextmanager
def whole_files() -> Iterator[None]:
    """Within it, every local file that mmengine writes in this process is written by WholeFileBackend.

    The strategies of mmengine's FlexibleRunner cannot be told a backend for their checkpoints, nor can its LoggerHook,
    which writes the metrics of a test from every process into the same file.
    """
    before = type(get_file_backend('.'))
    register_backend('local', WholeFileBackend, force=True, prefixes='')
    try:
        yield
    finally:
        register_backend('local', before, force=True, prefixes='')
