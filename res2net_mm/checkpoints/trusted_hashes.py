"""Full SHA-256 hashes of weights: those of this project, and those of the files that were used first.

Eight digits in a file name are no protection against a forgery, and some files have not even those. So the hash of a
file is recorded when it is first used (trust on first use), in ``res2net_mm/hashes.json`` in torch hub's folder, and
compared ever after. The hashes in ``hashes.json`` beside this module, which a maintainer has recorded with
``python -m res2net_mm.weights verify DIR --record``, come first.

Both files are JSON objects with a key for each file, its local name (``WeightFile.name``), in the order of the names:
``{"NAME": {"date": "2026-11-26", "sha256": "64 digits", "size": 12345, "url": "https://..."}}``.
"""
from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path

from filelock import FileLock
from mmengine.logging import print_log
from torch.hub import get_dir

from ..utils.errors import CheckpointError
from ..utils.whole_file import whole_file
from .download import hash_file

COMMITTED = Path(__file__).with_name('hashes.json')


@dataclass(frozen=True)
class TrustedHash:
    """What is known for sure of a file.

    Args:
        sha256 (str): All 64 digits.
        size (int): Its bytes.
        url (str): Where it was from; '' if that is not known.
        date (str): The day on which it was recorded.
    """

    sha256: str
    size: int
    url: str
    date: str


def first_use_file() -> Path:
    """Where the hashes of the files are that were used first: beside torch hub's cache."""
    return Path(get_dir()) / 'res2net_mm' / 'hashes.json'


def find_committed(name: str) -> TrustedHash | None:
    """Find what this project has recorded of a file."""
    return _read(COMMITTED).get(name)


def find_first_use(name: str) -> TrustedHash | None:
    """Find what was recorded of a file when it was first used."""
    return _read(first_use_file()).get(name)


def find_trusted(name: str) -> TrustedHash | None:
    """Find the full hash of a file: this project's, or that of its first use; None if there is none.

    Args:
        name (str): Its local name.

    Raises:
        ValueError: If a file of hashes is damaged.
    """
    return find_committed(name) or find_first_use(name)


def trust_first_use(name: str, path: Path, url: str, replace: bool = False) -> None:
    """Record the hash of a file that is used; where that cannot be written it is said, and goes on.

    Args:
        name (str): Its local name.
        path (Path): The file.
        url (str): Where it is from.
        replace (bool): Whether it takes the place of what is recorded. Defaults to False.

    Raises:
        ValueError: If another hash was recorded meanwhile.
    """
    if not replace and find_trusted(name):
        return
    try:
        record(first_use_file(), {name: describe_file(path, url)}, replace)
    except OSError as error:
        print_log(f'The hash of {name} could not be recorded in {first_use_file()} ({error}); whether the file is the '
                  'same the next time will not be checked', logger='current', level=logging.WARNING)


def describe_file(path: Path, url: str) -> TrustedHash:
    """Compute what is recorded of a file, today."""
    return TrustedHash(hash_file(path), path.stat().st_size, url, date.today().isoformat())


def record(file: Path, hashes: dict[str, TrustedHash], replace: bool = False) -> None:
    """Add hashes to a file of them; several processes may do so at once, and it is never half a file.

    Args:
        file (Path): The file of hashes.
        hashes (dict[str, TrustedHash]): By the names of files.
        replace (bool): Whether they take the place of others. Defaults to False.

    Raises:
        ValueError: If another hash of one of them is recorded; nothing is written then.
        OSError: If the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    first_use_file().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(first_use_file().with_suffix('.lock')), timeout=10):
        known = _read(file)
        for name, entry in hashes.items():
            if not replace and name in known and known[name].sha256 != entry.sha256:
                raise CheckpointError(f"{name} has the SHA-256 {entry.sha256}, and '{file}' says {known[name].sha256} "
                                      f'since {known[name].date}; nothing was recorded')
        known.update((name, entry) for name, entry in hashes.items() if replace or name not in known)
        text = json.dumps({name: asdict(entry) for name, entry in known.items()}, indent=2, sort_keys=True) + '\n'
        with whole_file(file) as stream:
            stream.write(text.encode())


def _read(file: Path) -> dict[str, TrustedHash]:
    if not file.is_file():
        return {}
    try:
        entries = json.loads(file.read_text(encoding='utf-8'))
        hashes = {name: TrustedHash(**entry) for name, entry in entries.items()}
        for name, entry in hashes.items():
            if not re.fullmatch('[0-9a-f]{64}', entry.sha256):
                raise ValueError(f'{name} has no SHA-256 of 64 digits')
    except (ValueError, TypeError, AttributeError) as error:
        names = ', '.join(field.name for field in fields(TrustedHash))
        raise CheckpointError(f"'{file}' is no file of hashes ({error}); each name in it has {names}. Mend it, or "
                              'delete it where every file of weights may be trusted anew') from error
    return hashes
