"""The command ``tools/visualization/saliency_sheet.py``: saliency maps of models beside the images and their masks."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..analysis.saliency_sheet import SaliencyModel, choose_images, compare_saliency, draw_saliency
from .arguments import device_argument, models_arguments
from .command import run_tool
from .runner import read_safely

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Draw saliency maps."""
    parser = argparse.ArgumentParser(description='Draw images, their masks, and the saliency maps of models.')
    models_arguments(parser, 'checkpoint of the whole model')
    parser.add_argument('--data-root', required=True, metavar='DIR', help='the folder of the saliency datasets')
    parser.add_argument('--set', default='ECSSD', metavar='SET[:LIST]',
                        help='the dataset; LIST is a file in its folder with the names of some images (ECSSD)')
    parser.add_argument('--images', nargs='+', metavar='NAME', help='images of the dataset, without suffix')
    parser.add_argument('--count', type=int, default=6, metavar='N',
                        help='without --images: so many, evenly spread over the dataset (6)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/saliency_sheet.png'), metavar='FILE',
                        help='the figure (work_dirs/saliency_sheet.png)')
    device_argument(parser)
    run_tool(run_saliency_sheet, parser.parse_args(argv))


def run_saliency_sheet(args: argparse.Namespace, device: torch.device) -> None:
    """Draw the maps that the arguments name."""
    read_safely(args)
    pairs = choose_images(args.data_root, args.set, args.images, args.count)
    models = [SaliencyModel(config, checkpoint, device)
              for config, checkpoint in [(args.config, args.checkpoint), *args.compare]]
    rows = compare_saliency(models, pairs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw_saliency(rows, [model.name for model in models], args.out)
    print(f'Wrote {args.out}')
