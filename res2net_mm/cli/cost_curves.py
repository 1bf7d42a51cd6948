"""The command ``tools/analysis_tools/cost_curves.py``: how time grows with scales, batch and image."""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Sequence

from ..benchmark.contenders import BASELINE, PATHS, check_paths
from ..benchmark.curves import (
    UNITS,
    CurveReport,
    curve_over_batches,
    curve_over_images,
    curve_over_scales,
    measure_curve,
    write_curve_report,
)
from .benchmark_arguments import check_least, measuring_arguments, measuring_settings, parse_measuring, print_dot
from .command import run_tool

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Time models along curves."""
    parser = argparse.ArgumentParser(
        description='Measure how running time grows with the scales (at equal multiply-adds), the batch and the image.')
    parser.add_argument('presets', nargs='*', metavar='PRESET', default=[BASELINE, 'res2net50_26w4s'],
                        help=f'models of the curves over batch and image ({BASELINE} res2net50_26w4s)')
    parser.add_argument('--curves', nargs='+', choices=UNITS, default=list(UNITS), metavar='NAME',
                        help=f'which, of {", ".join(UNITS)} (all)')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=['eager', 'accelerate'], metavar='PATH',
                        help=f'ways to run a model, of {", ".join(PATHS)} (eager accelerate)')
    parser.add_argument('--scales', nargs='+', type=int, default=list(range(1, 9)), metavar='N', help='(1 to 8)')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1, 2, 4, 8, 16], metavar='N',
                        help='(1 2 4 8 16)')
    parser.add_argument('--image-sizes', nargs='+', type=int, default=list(range(128, 449, 64)), metavar='N',
                        help='sides in pixels (128 to 448 in steps of 64)')
    parser.add_argument('--at', nargs=2, type=int, default=(1, 224), metavar=('BATCH', 'PIXELS'),
                        help='batch and image size along the other curves (1 224)')
    measuring_arguments(parser, 'cost_curves', rounds=7)
    run_tool(run_cost_curves, parse_measuring(parser, argv))


def run_cost_curves(args: argparse.Namespace, device: torch.device) -> None:
    """Measure the curves that the arguments name, and print what they say."""
    check_least(args, scales=1, batch_sizes=1, image_sizes=32, rounds=1)
    batch_size, image_size = args.at
    if batch_size < 1 or image_size < 32:
        raise ValueError(f'--at {batch_size} {image_size}: must be at least 1 32')
    check_paths(args.paths, device, args.dtype)
    points = {
        'scales': lambda: curve_over_scales(args.scales, batch_size, image_size),
        'batch': lambda: curve_over_batches(args.presets, args.batch_sizes, image_size),
        'image': lambda: curve_over_images(args.presets, args.image_sizes, batch_size),
    }
    curves = {curve: points[curve]() for curve in args.curves}
    args.out.mkdir(parents=True, exist_ok=True)
    settings = measuring_settings(args, device)
    rows = []
    for curve, models in curves.items():
        rows += measure_curve(curve, models, args.paths, settings, print_dot)
        print()
    written = write_curve_report(CurveReport(settings, batch_size, image_size, rows), args.out)
    print(*(row.verdict() for row in rows), sep='\n')
    print('written:', *written, sep='\n  ')
