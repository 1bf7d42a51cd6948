"""Text for people: tables, lists of names."""
import sys


def console():
    """A console for tables; where the output is no terminal, rich would take it for a narrow one."""
    from rich.console import Console
    return Console(width=None if sys.stdout.isatty() else 160)


def markdown_table(heads, rows):
    """A Markdown table without the columns that are empty."""
    filled = [any(cells) for cells in zip(*rows)] or [True] * len(heads)
    lines = [heads, ['---'] * len(heads), *rows]
    return '\n'.join('| ' + ' | '.join(str(cell).replace('*', '\\*') for cell, keep in zip(line, filled) if keep) + ' |'
                     for line in lines)


def number_duplicates(names):
    """Number the names that occur twice."""
    return [f'{name} ({names[:i + 1].count(name)})' if names.count(name) > 1 else name for i, name in enumerate(names)]


def shorten(names, shown=5):
    """The first names, and how many more there are, as text."""
    names = list(names)
    return ', '.join(names[:shown]) + (f' and {len(names) - shown} more' if len(names) > shown else '')
