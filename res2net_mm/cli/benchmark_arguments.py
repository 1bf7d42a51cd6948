"""What the commands of the benchmarks share: arguments about measuring, and their checks."""
from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..benchmark.timing import DTYPES, MeasuringSettings
from .arguments import device_argument

if TYPE_CHECKING:
    import torch


def measuring_arguments(parser: argparse.ArgumentParser, name: str, rounds: int) -> None:
    """Add what every benchmark can be told.

    Args:
        parser (argparse.ArgumentParser): The command's parser.
        name (str): Name of the command, and of the folder of its results.
        rounds (int): The default of ``--rounds``.
    """
    parser.add_argument('--rounds', type=int, default=rounds, metavar='N',
                        help=f'how often everything is timed ({rounds})')
    parser.add_argument('--dtype', choices=DTYPES, default='float32', help='(float32)')
    parser.add_argument('--channels-last', action='store_true', help='keep the channels of a pixel together')
    parser.add_argument('--out', type=Path, default=Path('work_dirs') / name, metavar='DIR',
                        help=f'where the results go, JSON and a Markdown page and figures (work_dirs/{name})')
    device_argument(parser)


def parse_measuring(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments, and keep the command line as ``command``."""
    args = parser.parse_args(argv)
    args.command = shlex.join(sys.argv[1:] if argv is None else argv)
    return args


def check_least(args: argparse.Namespace, **limits: int) -> None:
    """Refuse arguments, single ones or lists, that are less than their limits.

    Args:
        args (argparse.Namespace): The arguments.
        **limits (int): The least value of arguments, by their names.

    Raises:
        ValueError: Naming the option, its value and the limit.
    """
    for name, least in limits.items():
        value = getattr(args, name)
        if min(value if isinstance(value, list) else [value]) < least:
            raise ValueError(f'--{name.replace("_", "-")} {value}: must be at least {least}')


def measuring_settings(args: argparse.Namespace, device: torch.device) -> MeasuringSettings:
    """The settings that the arguments name, on a device."""
    return MeasuringSettings(device, args.dtype, args.channels_last, args.rounds, args.command)


def print_dot() -> None:
    """Show that something is done."""
    print('.', end='', flush=True)
