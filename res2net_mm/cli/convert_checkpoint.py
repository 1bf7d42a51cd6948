"""The command ``tools/model_converters/convert_checkpoint.py``: convert a checkpoint, or say what it is."""
from __future__ import annotations

import argparse
from typing import Sequence

from ..analysis.checkpoint_inspection import inspect_checkpoint
from ..checkpoints.convert import LAYOUTS, convert_file
from ..checkpoints.files import SUFFIXES
from .arguments import trust_argument
from .command import fail
from .runner import read_safely


def main(argv: Sequence[str] | None = None) -> None:
    """Convert or inspect a checkpoint: the command ``tools/model_converters/convert_checkpoint.py``."""
    parser = argparse.ArgumentParser(
        description='Convert a checkpoint to the names of another library, or say what a checkpoint is.')
    parser.add_argument('src', metavar='SRC', help='checkpoint of any known layout; PyTorch, safetensors or Paddle')
    parser.add_argument('dst', metavar='DST', nargs='?', help=f'the file to write, {", ".join(SUFFIXES)}')
    parser.add_argument('--to', choices=LAYOUTS, help='the library whose names DST gets')
    parser.add_argument('--in-channels', type=int, metavar='N',
                        help="adapt the first convolution to images of N channels, as timm's in_chans does")
    parser.add_argument('--inspect', action='store_true',
                        help='only say what SRC is, which preset it fits, and which stage_pool it needs and why')
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')
    trust_argument(parser)
    args = parser.parse_args(argv)
    if args.inspect and (args.dst or args.to or args.force or args.in_channels is not None):
        parser.error('--inspect takes one file and no other option')
    if not args.inspect and not (args.dst and args.to):
        parser.error('give DST and --to, or --inspect')
    read_safely(args)
    try:
        print(inspect_checkpoint(args.src) if args.inspect else
              convert_file(args.src, args.dst, args.to, args.force, args.in_channels))
    except (OSError, ValueError) as error:
        fail(error)
