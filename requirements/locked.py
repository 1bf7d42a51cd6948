#!/usr/bin/env python3
"""Print packages of a lock with the hashes that an installer checks (``pip install --require-hashes -r``).

    requirements/locked.py [--only NAME ...] [--without NAME ...] [--wheels DIR] [--lock FILE]

Wheels in DIR of the versions in the lock are the user's own: he may have built them, so that no lock can know their
hashes. Their hashes are added to those of the lock, and their names are said on stderr. Standard library alone: this
runs before anything is installed.
"""
from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

LOCK = Path(__file__).with_name('lock.txt')


def read_lock(text: str) -> dict[str, list[str]]:
    """Packages of a lock, by name: 'NAME==VERSION', and then their options '--hash=...'.

    Raises:
        ValueError: If a package has no hash.
    """
    lines = [line.strip() for line in text.replace('\\\n', '').splitlines()]
    entries = [line.split() for line in lines if line and not line.startswith('#')]
    bare = [entry[0] for entry in entries if len(entry) < 2]
    if bare:
        raise ValueError(f'the lock has no hash of {", ".join(bare)}; "make lock" writes them')
    return {entry[0].partition('==')[0]: entry for entry in entries}


def add_wheels(entries: dict[str, list[str]], folder: Path) -> list[str]:
    """Add to entries of a lock the hashes of the wheels in a folder; return file names of those it did not have."""
    added = []
    for wheel in sorted(folder.glob('*.whl')):
        name, version = wheel.name.split('-')[:2]
        entry = entries.get(re.sub('[-_.]+', '-', name).lower(), [''])
        if entry[0].partition('==')[2] == version.partition('+')[0]:
            option = f'--hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}'
            if option not in entry:
                entry.append(option)
                added.append(wheel.name)
    return added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--only', nargs='+', metavar='NAME', help='print these packages (default: all)')
    parser.add_argument('--without', nargs='+', metavar='NAME', default=[], help='leave these out')
    parser.add_argument('--wheels', type=Path, metavar='DIR', help="a folder of one's own wheels")
    parser.add_argument('--lock', type=Path, default=LOCK, metavar='FILE', help='(default: requirements/lock.txt)')
    args = parser.parse_args()
    try:
        entries = read_lock(args.lock.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        sys.exit(f'{args.lock}: {error}')
    missing = {*(args.only or []), *args.without} - entries.keys()
    if missing:
        sys.exit(f'{args.lock} has no {", ".join(sorted(missing))}')
    names = [name for name in args.only or entries if name not in args.without]
    entries = {name: entries[name] for name in names}
    own = add_wheels(entries, args.wheels) if args.wheels else []
    if own:
        print(f'Trusted as they are, since they come from {args.wheels}: {", ".join(own)}', file=sys.stderr)
    for entry in entries.values():
        print(' \\\n    '.join(entry))


if __name__ == '__main__':
    main()
