"""Files that list things: JSON, and text with one name a line."""
from __future__ import annotations

import codecs
import gc
import json
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Callable, Iterator, TypeVar

from .problems import BadDataError

Content = TypeVar('Content')
REMEMBERED: list[Any] = []
OPEN: list[bool] = []  # not empty inside of ``reading_once``
BYTE_ORDER_MARKS = {codecs.BOM_UTF8: 'UTF-8 with a byte order mark', codecs.BOM_UTF16_LE: 'UTF-16',
                    codecs.BOM_UTF16_BE: 'UTF-16'}


def remembered(read: Callable[..., Content]) -> Callable[..., Content]:
    """Let a function remember the last file that it read, inside of ``reading_once``."""
    cached = lru_cache(maxsize=1)(read)
    REMEMBERED.append(cached)

    @wraps(read)
    def read_or_remember(path: str) -> Content:
        return cached(path) if OPEN else read(path)

    return read_or_remember


@contextmanager
def reading_once() -> Iterator[None]:
    """Read files of annotations, each once, and free them in the end: they may be gigabytes.

    Python's collector of cyclic garbage rests: it would walk a tree of millions of objects again and again.
    """
    collecting = gc.isenabled()
    gc.disable()
    OPEN.append(True)
    try:
        yield
    finally:
        OPEN.pop()
        for cached in REMEMBERED:
            cached.cache_clear()
        if collecting:
            gc.enable()


def read_json(path: str | Path) -> Any:
    """Read a JSON file, as strictly as the toolboxes do, which take UTF-8 without a mark.

    Raises:
        BadDataError: If it is not one.
    """
    content = Path(path).read_bytes()
    refuse_byte_order_mark(path, content)
    try:
        return json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise BadDataError(f'{path} is not valid JSON (cut off?): {error}') from error
    except UnicodeDecodeError as error:
        raise BadDataError(f'{path} is not text in UTF-8: {error}') from error
    except RecursionError as error:
        raise BadDataError(f'{path} is not valid JSON: its lists are nested too deeply to be read') from error
    except ValueError as error:  # such as an integer of 5000 digits
        raise BadDataError(f'{path} cannot be read: {error}') from error


def refuse_byte_order_mark(path: str | Path, content: bytes) -> None:
    """Refuse a file that some editors write and that no toolbox can read.

    Raises:
        BadDataError: If the content begins with a byte order mark.
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise BadDataError(f'{path} is text in {encoding}; save it in plain UTF-8, without a mark')


def read_names(path: str | Path) -> list[str]:
    """Read a list of images, one a line.

    Raises:
        BadDataError: If it has none, or an empty line, or is no text.
    """
    content = Path(path).read_bytes()
    refuse_byte_order_mark(path, content)
    try:
        names = [line.strip() for line in content.decode().splitlines()]
    except UnicodeDecodeError as error:
        raise BadDataError(f'{path} is not text in UTF-8: {error}') from error
    if not any(names):
        raise BadDataError(f'{path} names no images')
    if '' in names:
        raise BadDataError(f'{path}: line {names.index("") + 1} is empty')
    return names


def doubled(names: list[str]) -> list[str]:
    """The names that a list has more than once, each with how often."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return [f'{name} ({count} times)' for name, count in counts.items() if count > 1]
