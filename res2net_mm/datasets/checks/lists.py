"""Files that list things: JSON, and text with one name a line."""
from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

from .problems import BadDataError


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        BadDataError: If it is not one.
    """
    gc.disable()  # it would walk a tree of millions of objects again and again while that grows
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise BadDataError(f'{path} is not valid JSON (cut off?): {error}') from error
    finally:
        gc.enable()


def read_names(path: str | Path) -> list[str]:
    """Read a list of images, one a line.

    Raises:
        BadDataError: If it has none, or an empty line.
    """
    names = [line.strip() for line in Path(path).read_text().splitlines()]
    if not any(names):
        raise BadDataError(f'{path} names no images')
    if '' in names:
        raise BadDataError(f'{path}: line {names.index("") + 1} is empty')
    return names
