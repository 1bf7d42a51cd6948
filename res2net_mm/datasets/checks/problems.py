"""What checks find: problems, of which some end the run and others are warnings."""
from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

from ...utils.errors import UserError

TOLERATED = 0.05  # of the samples to train on may be bad: those are skipped
SHOWN = 5  # of the defects of one kind; the others are counted


class BadDataError(UserError):
    """Data that cannot be trained or tested on; the message names the file and what is wrong with it.

    Attributes:
        is_repeated (bool): Whether the first process of a distributed run raises the same error.
    """

    is_repeated = False


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the data, or with how a config uses them.

    Attributes:
        message (str): The file or the setting, what is wrong with it, and what is allowed.
        fatal (bool): Whether the run must not begin. Defaults to True; otherwise it is a warning.
    """

    message: str
    fatal: bool = True


def list_defects(title: str, defects: Sequence[str], fatal: bool = True) -> Iterator[Problem]:
    """One problem that lists the first defects, if there are any.

    Args:
        title (str): What the defects are of; the first line of the message.
        defects (Sequence[str]): A line for each.
        fatal (bool): Whether the run must not begin. Defaults to True.

    Yields:
        Problem: At most one.
    """
    if defects:
        more = [f'... and {len(defects) - SHOWN} more'] if len(defects) > SHOWN else []
        yield Problem('\n  '.join([title, *defects[:SHOWN], *more]), fatal)


def report(problems: Iterable[Problem]) -> None:
    """Log the warnings among some problems, and raise the others as one error.

    Raises:
        BadDataError: If one of them is fatal.
    """
    problems = list(dict.fromkeys(problems))  # two splits may read the same file
    for problem in problems:
        if not problem.fatal:
            warn(problem.message)
    fatal = [problem.message for problem in problems if problem.fatal]
    if fatal:
        raise BadDataError('\n'.join(fatal))


def warn(message: str) -> None:
    """Log a warning, from whatever process of a distributed run."""
    from mmengine.dist import get_rank
    from mmengine.logging import print_log
    # mmengine shows nothing below an error of the processes of a distributed run but the first.
    print_log(message, logger='current', level=logging.WARNING if get_rank() == 0 else logging.ERROR)
