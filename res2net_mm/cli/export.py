"""``tools/export.py``: a model as an ONNX, OpenVINO, TorchScript or torch.export file, compared with PyTorch."""
from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.errors import UserError
from ..utils.images import find_images, read_image
from ..utils.text import console
from .arguments import debug_argument, trust_argument
from .command import run_command
from .device import choose_device
from .runner import read_safely

if TYPE_CHECKING:
    from ..apis.exporting.checks import ExportCheck


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description='Write a model into one file that runs without PyTorch and OpenMMLab.')
    parser.add_argument('model', help="config, name of a config or of public weights, or 'demo'")
    parser.add_argument('--checkpoint', metavar='FILE', help='the weights (those that are public)')
    parser.add_argument('--to', default='onnx', metavar='FORMAT',
                        help='onnx, openvino, torchscript or pt2 (%(default)s)')
    parser.add_argument('--out', metavar='FILE', help='the file to write (the name of the config)')
    parser.add_argument('--input-size', nargs=2, type=int, metavar=('H', 'W'),
                        help='let the file take images of this size only (any, or what the test pipeline makes)')
    parser.add_argument('--preprocess', action='store_true',
                        help='resize and normalise in the file: it takes images (n, h, w, 3) of uint8, B, G, R')
    parser.add_argument('--backbone', action='store_true', help='backbone and neck alone')
    parser.add_argument('--int8', metavar='FOLDER', help='write 8 bits, calibrated on the images of this folder')
    parser.add_argument('--int8-samples', type=int, metavar='N', help='how many of them (300)')
    parser.add_argument('--check', nargs='+', default=[], metavar='PATH',
                        help='images or folders of images to compare the file with PyTorch on; exit code 1 if it '
                             'differs')
    trust_argument(parser)
    debug_argument(parser)
    run_command(run_export, parser.parse_args(argv), errors=(UserError, OSError))


def run_export(args: Namespace) -> None:
    """Export as the arguments say, and print how the file compares.

    Raises:
        UserError: If something that was given cannot be used, or the file differs from PyTorch.
    """
    if args.input_size and min(args.input_size) < 1:
        raise UserError(f'--input-size {args.input_size[0]} {args.input_size[1]}: must be 1 or more')
    images = [read_image(file) for file in find_images(args.check)]
    calibration = images_for_int8(args)
    choose_device('cpu')
    read_safely(args)
    from ..apis.export import export
    check = export(args.model, args.out, args.to, args.checkpoint, args.input_size, args.preprocess, args.backbone,
                   images, calibration)
    print(f'written: {check.file} ({check.file.stat().st_size / 2**20:.1f} MiB)')
    if images:
        print_check(check)
        if not check.holds:
            raise UserError(f'{check.file} does not compute what PyTorch does')


def images_for_int8(args: Namespace) -> list[Path]:
    """The files to calibrate with; none without --int8."""
    if args.int8 is None:
        if args.int8_samples is not None:
            raise UserError('--int8-samples is for --int8')
        return []
    from ..apis.exporting.int8 import SAMPLES, choose_images
    number = SAMPLES if args.int8_samples is None else args.int8_samples
    if number < 1:
        raise UserError(f'--int8-samples {number}: must be 1 or more')
    return choose_images(args.int8, number)


def print_check(check: ExportCheck) -> None:
    """Print the table of a comparison."""
    from rich.table import Table
    table = Table(title=f'{check.file.name} beside PyTorch, {check.images} images')
    for head in ('output', 'largest error', 'allowed'):
        table.add_column(head)
    for row in check.rows():
        table.add_row(*row)
    console().print(table)
