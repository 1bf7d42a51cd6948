"""The command ``python -m res2net_mm.weights``: public weights, listed, shown, downloaded and verified."""
from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..utils.errors import UserError
from ..utils.text import console
from ..utils.whole_file import mebibytes
from .command import TOOL_ERRORS, error_message, run_command

if TYPE_CHECKING:
    from ..checkpoints.weights import WeightFile

PROGRAM = 'python -m res2net_mm.weights'


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): The arguments. Defaults to None, those of the process.
    """
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description='Public weights of Res2Net: res2net_mm://NAME in a config loads them.')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    command = commands.add_parser('list', help='print a table of all of them')
    command.set_defaults(run=list_weights)
    command = commands.add_parser('show', help='print all that is known of some')
    command.add_argument('name', metavar='NAME')
    command.set_defaults(run=show_weights)
    command = commands.add_parser('download', help='fetch some, and print where they lie')
    command.add_argument('names', metavar='NAME', nargs='+')
    command.add_argument('--to', metavar='DIR', type=Path,
                         help='copy them there, for a machine without a network: RES2NET_MM_WEIGHTS=DIR')
    command.add_argument('--trust-new', action='store_true',
                         help='accept a file that is another one than at its first use here')
    command.set_defaults(run=download_weights)
    command = commands.add_parser('verify', help='compare the files in a folder with what is known of them')
    command.add_argument('folder', metavar='DIR', type=Path)
    command.add_argument('--record', action='store_true',
                         help='for maintainers: add the full hashes of right files to those of this project')
    command.set_defaults(run=verify_weights)
    args = parser.parse_args(argv)
    run_command(args.run, args, errors=TOOL_ERRORS)


def list_weights(args: Namespace) -> None:
    """Print the table of public weights, and the paths of those that are here."""
    from rich.table import Column, Table

    from ..checkpoints.hub import find_cached
    from ..models.public_weights import WEIGHTS
    # Names stay whole, to be copied.
    table = Table(Column('name', no_wrap=True), 'backbone', 'accuracy', 'size', 'licence', 'checked by')
    here = []
    for weights in WEIGHTS:
        cached = find_cached(weights)
        if cached:
            here.append(f'{weights.name}: {cached[1]}')
        size = next((file.size for file in weights.files if file.size), None)
        accuracies = [f'{" / ".join(map(str, one.values))} {one.metric} ({one.source})' for one in weights.accuracies]
        table.add_row(weights.name, weights.architecture, next(iter(accuracies), ''), mebibytes(size) if size else '',
                      weights.licence, trust_of(cached[0] if cached else weights.files[0]))
    console().print(table)
    print('\n'.join(['On this machine:', *here]) if here else 'None of them is on this machine')


def show_weights(args: Namespace) -> None:
    """Print all that is known of weights."""
    from ..checkpoints.hub import find_cached
    from ..checkpoints.weights import SCHEME
    from ..models.pretrained import find_weights
    weights = find_weights(args.name)
    images = weights.preprocessing
    lines = [
        ('name', f'{SCHEME}{weights.name}'), ('backbone', weights.architecture), ('config', weights.config),
        ('stage_pool', weights.stage_pool), ('licence', weights.licence),
        *(('accuracy', f'{" / ".join(map(str, one.values))} {one.metric}; {one.source}, {one.protocol}')
          for one in weights.accuracies),
        ('images', f'{images.input_size}² from {images.resize}, {images.interpolation}, {images.channels}, '
         f'mean {images.mean}, std {images.std}'),
        ('note', weights.note), ('by hand', weights.page),
        *(('file', f'{file.url}\n{"":14}{describe_size(file)}; {trust_of(file)}') for file in weights.files),
    ]
    cached = find_cached(weights)
    lines.append(('here', str(cached[1]) if cached else 'no'))
    print('\n'.join(f'{name:<12}  {value}' for name, value in lines if value))


def download_weights(args: Namespace) -> None:
    """Fetch weights one after another; those that cannot be had are named, and the others fetched."""
    from ..checkpoints.hub import fetch, fetch_to
    from ..models.pretrained import find_weights
    if args.to:
        try:
            args.to.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError(f"--to: '{args.to}' is not a folder") from None
    failed = []
    for name in args.names:
        try:
            weights = find_weights(name)
            print(fetch_to(weights, args.to, args.trust_new) if args.to else fetch(weights, args.trust_new))
        except TOOL_ERRORS as error:
            print(f'{PROGRAM}: error: {error_message(error)}', file=sys.stderr)
            failed.append(name)
    if failed:
        raise UserError(f'{len(failed)} of {len(args.names)} could not be fetched: {", ".join(failed)}')


def verify_weights(args: Namespace) -> None:
    """Say of each file in a folder whether it is what its name says."""
    from ..checkpoints.verification import UNKNOWN, WRONG, is_vouched, record_verified, verify_folder
    from ..models.public_weights import WEIGHTS
    verdicts = verify_folder(args.folder, WEIGHTS)
    for verdict in verdicts:
        print(f'{verdict.status:<14}{verdict.path.name}{f": {verdict.remark}" if verdict.remark else ""}')
    wrong = [verdict.path.name for verdict in verdicts if verdict.status == WRONG]
    if wrong:
        raise UserError(f"{len(wrong)} wrong in '{args.folder}': {', '.join(wrong)}; delete and fetch them again")
    if all(verdict.status == UNKNOWN for verdict in verdicts):
        raise UserError(f"there are no public weights in '{args.folder}'")
    if args.record:
        added = record_verified(verdicts)
        print(f'Recorded: {", ".join(added) or "nothing new"}')
        for verdict in verdicts:
            if verdict.file and not is_vouched(verdict):
                print(f'Not recorded: {verdict.path.name}; no hash of it is published, and it was not fetched by '
                      f'{PROGRAM} download on this machine')


def trust_of(file: WeightFile) -> str:
    """How a file is checked, in words."""
    from ..checkpoints.trusted_hashes import find_committed, find_first_use
    if find_committed(file.name):
        return 'full hash of this project'
    first_use = find_first_use(file.name)
    if first_use:
        return f'full hash of the first use, {first_use.date}'
    return f'{len(file.sha256)} digits of a hash' if file.sha256 else 'format, and trust on first use'


def describe_size(file: WeightFile) -> str:
    """The size of a file, in words."""
    return mebibytes(file.size) if file.size else 'size not published'
