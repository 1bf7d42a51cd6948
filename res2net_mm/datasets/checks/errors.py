"""The error of bad data, with the list of the first defects, and the warning."""
from __future__ import annotations

import logging
from typing import Sequence

from ...utils.errors import UserError

SHOWN = 5  # of the defects of one kind; the others are counted


class BadDataError(UserError):
    """Data that cannot be trained or tested on; the message names the file and what is wrong with it."""


def refuse_defects(title: str, defects: Sequence[str]) -> None:
    """Raise an error that lists the first defects, if there are any.

    Args:
        title (str): What the defects are of; the first line of the message.
        defects (Sequence[str]): A line for each.

    Raises:
        BadDataError: If there are defects.
    """
    if defects:
        more = [f'... and {len(defects) - SHOWN} more'] if len(defects) > SHOWN else []
        raise BadDataError('\n  '.join([title, *defects[:SHOWN], *more]))


def warn(message: str) -> None:
    """Log a warning, from whatever process of a distributed run."""
    from mmengine.dist import get_rank
    from mmengine.logging import print_log
    # mmengine shows nothing below an error of the processes of a distributed run but the first.
    print_log(message, logger='current', level=logging.WARNING if get_rank() == 0 else logging.ERROR)
