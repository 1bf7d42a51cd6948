"""The command ``tools/analysis_tools/receptive_field.py``: what the splits of Res2Net's blocks see."""
from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..analysis.receptive_field import load_square_images
from ..analysis.receptive_field_figure import (
    draw_receptive_fields,
    measure_arch,
    measure_config,
    receptive_field_table,
)
from ..utils.images import find_images
from ..utils.text import console
from .arguments import device_argument
from .command import run_tool

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Measure receptive fields."""
    parser = argparse.ArgumentParser(
        description="Measure and draw the effective receptive fields of the splits of Res2Net's blocks.")
    parser.add_argument('archs', nargs='*', metavar='ARCH',
                        help='architectures, with random weights (resnet50 and res2net50_26w4s, unless --config is '
                             'given)')
    parser.add_argument('--config', nargs='+', action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='the backbone of a config; random weights without CHECKPOINT. May be repeated')
    parser.add_argument('--images', nargs='+', metavar='PATH',
                        help='images, or folders of them, as inputs instead of noise')
    parser.add_argument('--inputs', type=int, default=8, metavar='N',
                        help='inputs of Gaussian noise to take the mean over (8)')
    parser.add_argument('--size', type=int, default=448,
                        help='side of the square inputs in pixels, a multiple of 32 (448)')
    parser.add_argument('--blocks', nargs='+', metavar='NAME',
                        help='blocks such as layer3.0 (the last one of every stage)')
    parser.add_argument('--seed', type=int, default=0, help='of weights, noise and signs (0)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/receptive_field'), metavar='DIR',
                        help='where results go (work_dirs/receptive_field)')
    device_argument(parser)
    run_tool(run_receptive_field, parser.parse_args(argv))


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that cannot be used.

    Raises:
        ValueError: Naming the argument.
    """
    if args.size < 32 or args.size % 32:
        raise ValueError(f'--size {args.size}: must be a positive multiple of 32')
    if args.inputs < 1:
        raise ValueError(f'--inputs {args.inputs}: must be at least 1')
    for values in args.config:
        if len(values) > 2:
            raise ValueError(f'--config takes a config and at most one checkpoint, not {" ".join(values)}')


def run_receptive_field(args: argparse.Namespace, device: torch.device) -> None:
    """Measure and draw what the arguments say, and print what there is."""
    check_arguments(args)
    import torch
    torch.manual_seed(args.seed)
    images = find_images(args.images) if args.images else []
    inputs = load_square_images(images, args.size) if images else torch.randn(args.inputs, 3, args.size, args.size)
    archs = args.archs or ([] if args.config else ['resnet50', 'res2net50_26w4s'])

    args.out.mkdir(parents=True, exist_ok=True)
    used = [str(path) for path in images] or f'{args.inputs} of Gaussian noise'
    results = dict(size=args.size, seed=args.seed, inputs=used, models={})
    measurements = [partial(measure_arch, arch) for arch in archs]
    measurements += [partial(measure_config, config, *(checkpoint or [None])) for config, *checkpoint in args.config]
    for measure in measurements:
        backbone = measure(inputs.to(device), args.blocks, args.seed)
        results['models'][backbone.name] = backbone.to_json()
        figure = args.out / backbone.file_name
        draw_receptive_fields(backbone, figure, inputs if images else ())
        console().print(receptive_field_table(backbone))
        print(f'drawn in {figure}')
    path = args.out / 'receptive_field.json'
    path.write_text(json.dumps(results, indent=1))
    print(f'numbers in {path}')
