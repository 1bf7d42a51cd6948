"""Lay out a public dataset as our configs read it: the command ``tools/misc/prepare_data.py``."""
from __future__ import annotations

import argparse
from collections.abc import Sequence

from .command import TOOL_ERRORS, run_command

NAMES = ('cifar10', 'ecssd', 'kvasir', 'bccd')


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = argparse.ArgumentParser(description='Lay out a public dataset as our configs read it, from the archives '
                                     'that its page offers, or from folders with what is in them.')
    parser.add_argument('name', choices=NAMES, help='the dataset')
    parser.add_argument('--from', nargs='+', required=True, dest='sources', metavar='PATH',
                        help='archives (.zip, .tar, .tar.gz) or folders')
    parser.add_argument('--to', required=True, dest='root', metavar='DIR', help='the data root to make or to add to')
    run_command(lay_out, parser.parse_args(argv), errors=TOOL_ERRORS)


def lay_out(args: argparse.Namespace) -> None:
    """Lay it out, and say where."""
    from ..datasets.prepare import prepare_data
    folder = prepare_data(args.name, args.sources, args.root)
    print(f'Wrote {folder}: {sum(path.is_file() for path in folder.rglob("*"))} files')
