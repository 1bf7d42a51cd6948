"""Text for people: tables, lists of names, and what a misspelt name may have meant."""
from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from statistics import mean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console for tables; where the output is no terminal, rich would take it for a narrow one."""
    from rich.console import Console
    return Console(width=None if sys.stdout.isatty() else 160)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table.

    Args:
        heads (Sequence[str]): Heads of the columns.
        rows (Sequence[Sequence]): Cells, row by row; a column whose cells are all empty is left out.
    """
    filled = [any(cells) for cells in zip(*rows)] or [True] * len(heads)
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join('| ' + ' | '.join(str(cell).replace('*', '\\*') for cell, keep in zip(line, filled) if keep) + ' |'
                     for line in lines)


def number_duplicates(names: Sequence[str]) -> list[str]:
    """The names, with (1), (2), ... behind those that occur more than once."""
    return [f'{name} ({names[:i + 1].count(name)})' if names.count(name) > 1 else name for i, name in enumerate(names)]


def shorten(names: Iterable[str], shown: int = 5) -> str:
    """The first names, and how many more there are, as text."""
    names = list(names)
    return ', '.join(names[:shown]) + (f' and {len(names) - shown} more' if len(names) > shown else '')


def mean_and_deviation(values: Sequence[float], decimals: int) -> str:
    """'0.712 ±0.010': the mean of some values ± their standard deviation; '0.712' for one value, and '' for none."""
    deviation = f' ±{stdev(values):.{decimals}f}' if len(values) > 1 else ''
    return f'{mean(values):.{decimals}f}{deviation}' if values else ''


def did_you_mean(name: str, names: Iterable[str], told: Mapping[str, str] | None = None, form: str = '{}',
                 cutoff: float = 0.6) -> str:
    """The question 'did you mean A or B?' for a name that is not known; '' if no name is near.

    Args:
        name (str): What was given.
        names (Iterable[str]): The names that there are, of which three at most are told.
        told (Mapping[str, str] | None): What to tell in place of each; None for the names as they are.
        form (str): What is returned if there is a question, in place of '{}': as '; {}' behind a sentence.
        cutoff (float): How near a name must be, between 0 and 1 for an equal one.
    """
    near = get_close_matches(name, list(names), n=3, cutoff=cutoff)
    meant = ' or '.join(dict.fromkeys(told[other] if told else other for other in near))
    return form.format(f'did you mean {meant}?') if meant else ''
