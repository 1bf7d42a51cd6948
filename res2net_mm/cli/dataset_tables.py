"""The tables that ``tools/misc/check_data.py`` prints."""
from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Sequence

from ..datasets.checks.problems import Problem

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ..analysis.dataset_summary import ClassCount, DatasetSummary

MOST_CLASSES = 100  # of more than these only the largest and the smallest are printed
SHOWN_CLASSES = 10  # of each
BLOCK_ROWS = 12  # a table of more classes has them in several blocks side by side
MOST_NAME = 30  # letters of a class on one line
NONE = 'none'  # marks a class without anything


def images_table(summaries: Sequence[tuple[str, DatasetSummary, int | None]]) -> Group:
    """One row for every dataset.

    Args:
        summaries (Sequence[tuple]): The name of the split, what is in the dataset, and how many entries its filters
            have dropped or None.
    """
    table = new_table(left=('dataset', ), right=(
        'images', 'without\nannotations', 'dropped\nby filters', 'smallest', 'median', 'largest', 'width /\nheight'))
    for split, summary, dropped in summaries:
        sizes = ['?'] * 4
        if summary.sizes:
            sizes = [f'{width:g}×{height:g}' for width, height in
                     (summary.sizes.smallest, summary.sizes.median, summary.sizes.largest)]
            sizes.append('{:.2f}–{:.2f}'.format(*summary.sizes.aspects))
        images = len(summary.images)
        name = f'{split}: {summary.kind}' + (f'\n{summary.source}' if summary.source else '')
        add_row(table, name, images, images - summary.annotated,
                '?' if dropped is None else dropped, *sizes)
    notes = [f'{split}: sizes are those of {summary.sizes.measured} of {len(summary.images)} images, evenly spread.'
             for split, summary, _ in summaries if summary.sizes and summary.sizes.measured < len(summary.images)]
    return with_notes('Images', table, notes)


def class_table(split: str, summary: DatasetSummary, width: int) -> Group:
    """One row for every class of a dataset, or for the largest and smallest of very many.

    Args:
        split (str): The name of the split.
        summary (DatasetSummary): What is in the dataset.
        width (int): Columns of the terminal.
    """
    heads, cells, notes = ['images', 'images'], labels_cells, []
    if summary.counted == 'pixels':
        total = sum(count.pixels for count in summary.classes.values()) or 1
        heads = ['images', 'pixels']

        def cells(count: ClassCount) -> list[object]:
            return [count.images, f'{count.pixels / total:.2%}']

        notes.append(f'{summary.decoded} of {len(summary.images)} masks were decoded, evenly spread.'
                     if summary.decoded < len(summary.images) else f'All {summary.decoded} masks were decoded.')
    elif summary.counted == 'labels':
        heads = ['images']
    else:
        heads, cells = ['images', 'objects', 'ignored', 'small', 'medium', 'large'], objects_cells
        notes.append('Small: an area below 32² pixels, large: from 96² on, as COCO has them.')
        if summary.masks:
            notes.append(f'{summary.masks} objects have masks.')
    counts = list(summary.classes.values())
    if len(counts) > MOST_CLASSES:
        missing = sum(count.is_missing for count in counts)
        counts = extreme_classes(counts)
        notes.append(f'The {SHOWN_CLASSES} largest and smallest of {len(summary.classes)} classes; {missing} have '
                     'nothing.')
    title = f'{split}: {summary.counted} of {summary.kind}'
    return blocks_table(title, 'class', heads, [(count, cells(count)) for count in counts], width, notes)


def keypoint_table(split: str, summary: DatasetSummary, width: int) -> Group:
    """One row for every keypoint: how many objects have it labelled."""
    objects = sum(count.objects for count in summary.classes.values()) or 1
    rows: list[tuple[ClassCount, list[object]]] = [
        (count, [count.objects, f'{count.objects / objects:.1%}']) for count in summary.keypoints.values()]
    return blocks_table(f'{split}: labelled keypoints of {summary.kind}', 'keypoint', ['objects', 'share'], rows, width,
                        [])


def problem_table(problems: Iterable[Problem]) -> Group:
    """What is wrong, errors first."""
    table = new_table(left=('', 'message'), right=())
    for problem in sorted(problems, key=lambda problem: not problem.fatal):
        add_row(table, 'error' if problem.fatal else 'warning', problem.message,
                style='red' if problem.fatal else 'yellow')
        table.add_section()
    return with_notes('What is wrong', table, [])


def labels_cells(count: ClassCount) -> list[object]:
    """The cells of a class of a classification set."""
    return [count.objects]


def objects_cells(count: ClassCount) -> list[object]:
    """The cells of a class of objects."""
    return [count.images, count.objects, count.ignored, *count.by_area]


def extreme_classes(counts: Sequence[ClassCount]) -> list[ClassCount]:
    """The classes with the most and with the fewest objects, or pixels."""
    ordered = sorted(counts, key=lambda count: -(count.objects or count.pixels))
    return ordered[:SHOWN_CLASSES] + ordered[-SHOWN_CLASSES:]


def blocks_table(title: str, name: str, heads: Sequence[str], rows: Sequence[tuple[ClassCount, Sequence[object]]],
                 width: int, notes: Sequence[str]) -> Group:
    """A table of classes, with several side by side where there are many and the terminal is wide.

    Args:
        title (str): Its title.
        name (str): The head of the column of names.
        heads (Sequence[str]): The heads of the other columns.
        rows (Sequence[tuple]): A class and its cells.
        width (int): Columns of the terminal.
        notes (Sequence[str]): Sentences below.
    """
    names = [f'{count.name} ({NONE})' if count.is_missing else count.name for count, _ in rows]
    lines = [(name, *heads), *((name, *cells) for name, (_, cells) in zip(names, rows))]
    block_width = sum(min(MOST_NAME, max(len(str(cell)) for cell in column)) + 3 for column in zip(*lines))
    blocks = max(1, min((width - 1) // block_width, -(-len(rows) // BLOCK_ROWS)))
    height = -(-len(rows) // blocks)
    table = new_table(left=(), right=())
    for _ in range(blocks):
        table.add_column(name, overflow='fold', max_width=MOST_NAME)
        for head in heads:
            table.add_column(head, justify='right', no_wrap=True)
    for number in range(height):
        cells: list[object] = []
        for place in range(number, height * blocks, height):
            if place < len(rows):
                count, values = rows[place]
                style = 'bold red' if count.is_missing else ''
                cells += [styled(value, style) for value in (names[place], *values)]
            else:
                cells += [''] * (1 + len(heads))
        add_row(table, *cells)
    return with_notes(title, table, notes)


def with_notes(title: str, table: Table, notes: Sequence[str]) -> Group:
    """A table with its title above and sentences below; rich would break these at the table's width."""
    from rich.console import Group
    from rich.text import Text
    return Group(Text(title, 'bold'), table, Text(' '.join(notes) + '\n' if notes else ''))


def new_table(left: Sequence[str], right: Sequence[str]) -> Table:
    """An empty table.

    Args:
        left (Sequence[str]): Heads of columns of text.
        right (Sequence[str]): Heads of columns of numbers, which follow.
    """
    from rich.table import Table
    table = Table()
    for head in left:
        table.add_column(head, overflow='fold')
    for head in right:
        table.add_column(head, justify='right', overflow='fold')
    return table


def add_row(table: Table, *cells: object, style: str = '') -> None:
    """Add a row; brackets in names of classes and files are no markup of rich."""
    table.add_row(*(styled(cell, style) for cell in cells))


def styled(cell: object, style: str) -> Text:
    """A cell as rich's Text; one that is such stays as it is."""
    from rich.text import Text
    return cell if isinstance(cell, Text) else Text(str(cell), style)
