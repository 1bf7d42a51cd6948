"""Files of weights in a folder, compared with all that is known of files of their names."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from ..utils.errors import CheckpointError
from . import trusted_hashes
from .download import find_problem
from .trusted_hashes import describe_file, find_committed, find_trusted, record
from .weights import WeightFile, Weights

OK, WRONG, UNKNOWN, NOT_RECORDED = 'ok', 'wrong', 'unknown', 'not recorded'


@dataclass(frozen=True)
class Verdict:
    """What a look at a file has found.

    Args:
        path (Path): The file.
        status (str): 'ok': its full hash is recorded, and right. 'not recorded': what is published of it is right, and
            its full hash is nowhere. 'wrong': it is another file. 'unknown': no public weights have such a name.
        remark (str): What is wrong, or what was compared. Defaults to ''.
        file (WeightFile | None): The row of the table. Defaults to None, for an unknown one.
    """

    path: Path
    status: str
    remark: str = ''
    file: WeightFile | None = None


def verify_folder(folder: Path, table: Sequence[Weights]) -> list[Verdict]:
    """Compare the files in a folder with the table of public weights and with recorded hashes.

    Args:
        folder (Path): The folder; what lies in folders below, and hidden files, are not looked at.
        table (Sequence[Weights]): The public weights.

    Returns:
        list[Verdict]: One for each file, in the order of their names.

    Raises:
        ValueError: If it is no folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is not a folder" if folder.exists() else f"folder '{folder}' does not exist")
    known = {file.name: file for weights in table for file in weights.files}
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith('.'))
    return [_verify(path, known[path.name]) if path.name in known else Verdict(path, UNKNOWN) for path in paths]


def record_verified(verdicts: Sequence[Verdict]) -> list[str]:
    """Record the full hashes of files in the file of hashes that this project commits.

    Those are recorded that have a recorded or published hash and agree with it: nothing speaks for the others.

    Args:
        verdicts (Sequence[Verdict]): As ``verify_folder`` gives them.

    Returns:
        list[str]: The names of what was added, sorted.

    Raises:
        ValueError: If one of the files is wrong, or another hash of it is recorded; nothing is written then.
        OSError: If the file of hashes cannot be written.
    """
    wrong = [verdict for verdict in verdicts if verdict.status == WRONG]
    if wrong:
        raise CheckpointError(f'nothing was recorded, since {wrong[0].path} is {wrong[0].remark}')
    added = {verdict.path.name: describe_file(verdict.path, verdict.file.url) for verdict in verdicts
             if verdict.file and not find_committed(verdict.path.name) and is_vouched(verdict)}
    if added:
        record(trusted_hashes.COMMITTED, added)
    return sorted(added)


def is_vouched(verdict: Verdict) -> bool:
    """Whether some hash of the file was published, or recorded where it was fetched, and is right."""
    return verdict.file is not None and verdict.status != WRONG and bool(
        verdict.file.sha256 or find_trusted(verdict.path.name))


def _verify(path: Path, file: WeightFile) -> Verdict:
    trusted = find_trusted(path.name)
    expected = trusted.sha256 if trusted else file.sha256
    problem = find_problem(path, file.size, file.sha256) or find_problem(path, file.size, expected)
    if problem:
        return Verdict(path, WRONG, problem, file)
    if trusted:
        place = 'by this project' if find_committed(path.name) else 'at its first use here'
        return Verdict(path, OK, f'SHA-256 as recorded {place}', file)
    compared = ['size'] * bool(file.size) + [f'{len(file.sha256)} digits of SHA-256'] * bool(file.sha256)
    return Verdict(path, NOT_RECORDED, f'{" and ".join(compared) or "format"} right', file)
