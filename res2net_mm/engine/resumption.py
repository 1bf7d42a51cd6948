"""Which checkpoint a run goes on from: the newest whole one of its own work directory."""
from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoints.files import has_training_state, read_checkpoint
from ..utils.errors import UserError
from ..utils.whole_file import whole_file

POINTER = 'last_checkpoint'  # mmengine's file that names the last checkpoint of a work directory
NOTHING_YET = 'none: this run has not saved a checkpoint yet'


@dataclass
class Resumption:
    """A checkpoint to go on from.

    Attributes:
        path (Path): The file.
        meta (dict): What it says of its run: 'epoch', 'iter', 'seed' and more.
        warnings (list[str]): What was passed over, and why.
    """

    path: Path
    meta: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def read_resumption(path: str | Path) -> Resumption:
    """Read a checkpoint that a run is to go on from.

    Raises:
        FileNotFoundError, ValueError: If it cannot be read.
        UserError: If it has weights and no state of a training.
    """
    checkpoint = read_checkpoint(path)
    if not has_training_state(checkpoint):
        raise UserError(f"checkpoint '{path}' has weights and no state of a training, so that no run can go on from "
                        f'it. To begin one with its weights: --cfg-options load_from={path}')
    return Resumption(Path(path), checkpoint['meta'])


def find_resumption(work_dir: str | Path, folder: str | Path | None = None) -> Resumption | None:
    """Find the newest whole checkpoint of the run whose work directory this is.

    ``last_checkpoint`` names it. Of its path only the name counts, so that a copied or moved directory goes on with its
    own files. A checkpoint that was saved after the name was written comes first; if one is not whole, the one before.

    Args:
        work_dir (str | Path): The work directory.
        folder (str | Path | None): Where its checkpoints are. Defaults to None, the same.

    Returns:
        Resumption | None: None if the run has saved nothing.

    Raises:
        UserError: If none of its checkpoints can be resumed.
    """
    folder = Path(folder or work_dir)
    pointer = Path(work_dir, POINTER)
    checkpoints = numbered_checkpoints(folder)
    if not pointer.is_file():
        if not checkpoints:
            return None
        return newest_whole(folder, [], checkpoints, [f"'{work_dir}' has no {POINTER}"])
    text = pointer.read_text(encoding='utf-8', errors='replace').strip()
    written = pointer.stat().st_mtime
    if text == NOTHING_YET:  # and what is older is another run's
        own = [path for path in checkpoints if path.stat().st_mtime >= written]
        return newest_whole(folder, [], own, []) if own else None
    if not text:
        return newest_whole(folder, [], checkpoints, [f"'{pointer}' is empty"])
    named = folder / Path(text).name
    if named.is_dir():
        return Resumption(named, {}, [f"'{named}' is a folder, and was not looked into"])
    later = [path for path in checkpoints if is_later(path, named, written)]
    return newest_whole(folder, later, [named, *(path for path in checkpoints if path not in [named, *later])], [])


def newest_whole(folder: Path, later: list[Path], checkpoints: list[Path], warnings: list[str]) -> Resumption:
    """The first checkpoint that can be resumed.

    Args:
        folder (Path): Where the checkpoints are.
        later (list[Path]): Checkpoints that come first, if they are of the run of the first one in ``checkpoints``.
        checkpoints (list[Path]): The newest first.
        warnings (list[str]): What is to be said already.

    Raises:
        UserError: If there is none.
    """
    warnings = list(warnings)
    seed = None
    if later:
        with suppress(OSError, ValueError, UserError):
            seed = read_resumption(checkpoints[0]).meta.get('seed')
    for path in [*later, *checkpoints]:
        try:
            resumption = read_resumption(path)
        except (OSError, ValueError, UserError) as error:
            warnings.append(str(error))
            continue
        if path in later and seed not in (None, resumption.meta.get('seed')):
            continue
        if warnings:
            warnings.append(f"the run goes on from '{path}', the newest that is whole")
        return Resumption(path, resumption.meta, warnings)
    raise UserError(f"no checkpoint in '{folder}' can be resumed: " + '; '.join(warnings))


def name_checkpoint(work_dir: str | Path, text: str) -> None:
    """Write ``last_checkpoint``: a checkpoint's path, as mmengine does, or NOTHING_YET."""
    with whole_file(Path(work_dir, POINTER)) as file:
        file.write(text.encode())


def numbered_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints that a run has numbered, such as epoch_12.pth, highest number first; not its best ones."""
    paths = [path for path in Path(folder).glob('*.pth') if number(path) >= 0 and not path.name.startswith('best_')]
    return sorted(paths, key=lambda path: (number(path), path.name), reverse=True)


def number(path: Path) -> int:
    """The number at the end of a checkpoint's name; -1 if there is none."""
    match = re.search(r'(\d+)$', path.stem)
    return int(match[1]) if match else -1


def is_later(path: Path, named: Path, written: float) -> bool:
    """Whether a checkpoint was saved after another one was named: the run was killed between the two.

    Args:
        path (Path): The checkpoint.
        named (Path): The other one.
        written (float): When it was named, in seconds.
    """
    same_kind = path.stem.rstrip('0123456789') == named.stem.rstrip('0123456789')
    return same_kind and number(path) > number(named) and path.stat().st_mtime >= written
