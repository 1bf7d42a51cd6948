"""Which checkpoint a run goes on from: the newest whole one of its own work directory."""
from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoints.files import read_checkpoint
from ..checkpoints.loading import has_training_state
from ..utils.errors import UserError
from .hooks.checkpoint import POINTER


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
        Resumption | None: None if nothing was saved there.

    Raises:
        UserError: If none of its checkpoints can be resumed, or it is not known which belong to the run.
    """
    pointer = Path(work_dir, POINTER)
    folder = Path(folder or work_dir)
    checkpoints = numbered_checkpoints(folder)
    if not pointer.is_file():
        if checkpoints:
            names = ', '.join(path.name for path in checkpoints[:3])
            raise UserError(f"'{folder}' has {names}, and no {POINTER} says which of them the run that was cut off has "
                            f'saved; name one: --resume {checkpoints[0]}')
        return None

    name = Path(pointer.read_text(encoding='utf-8', errors='replace').strip()).name
    if (folder / name).is_dir() and name:
        return Resumption(folder / name, {}, [f"'{folder / name}' is a folder, and was not looked into"])
    return newest_whole(folder, checkpoints, name, pointer)


def newest_whole(folder: Path, checkpoints: list[Path], name: str, pointer: Path) -> Resumption:
    """The first checkpoint that can be resumed: saved after the pointer was written, named by it, or before it.

    Args:
        folder (Path): Where the checkpoints are.
        checkpoints (list[Path]): The checkpoints there, highest number first.
        name (str): What the pointer says; '' if it is empty.
        pointer (Path): The file that says it.

    Raises:
        UserError: If there is none.
    """
    named = [folder / name] if name else []
    later = [path for path in checkpoints if name and is_later(path, folder / name, pointer)]
    earlier = [path for path in checkpoints if path not in later + named]
    warnings = [] if name else [f"'{pointer}' is empty"]
    seed = None
    if later:  # or what a run before this one has left there
        with suppress(OSError, ValueError, UserError):
            seed = read_resumption(named[0]).meta.get('seed')
    for path in [*later, *named, *earlier]:
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


def numbered_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that a run has numbered, such as epoch_12.pth, highest number first; not its best ones."""
    paths = [path for path in folder.glob('*.pth') if number(path) >= 0 and not path.name.startswith('best_')]
    return sorted(paths, key=lambda path: (number(path), path.name), reverse=True)


def number(path: Path) -> int:
    """The number at the end of a checkpoint's name; -1 if there is none."""
    match = re.search(r'(\d+)$', path.stem)
    return int(match[1]) if match else -1


def is_later(path: Path, named: Path, pointer: Path) -> bool:
    """Whether a checkpoint was saved after another one was named: the run was killed between the two."""
    same_kind = path.stem.rstrip('0123456789') == named.stem.rstrip('0123456789')
    return same_kind and number(path) > number(named) and path.stat().st_mtime >= pointer.stat().st_mtime
