"""The command ``tools/visualization/cam.py``: where classifiers, detectors and segmentors look."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

from ..analysis.cam.compare import compare_maps
from ..analysis.cam.coverage import read_boxes
from ..analysis.cam.explain import ExplainedModel
from ..analysis.cam.figure import coverage_table
from ..utils.images import find_images
from ..utils.text import console
from .arguments import device_argument, models_arguments
from .command import run_tool
from .runner import read_safely

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and measure maps."""
    parser = argparse.ArgumentParser(description='Show where a classifier, detector or segmentor looks (Grad-CAM).')
    models_arguments(parser, 'checkpoint of the whole model; for a classifier also ImageNet weights')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='images, or folders of them')
    parser.add_argument('--class', dest='class_name', metavar='NAME_OR_INDEX',
                        help='the class to explain (what each model sees most clearly)')
    parser.add_argument('--target-layer', metavar='NAME',
                        help="the layer whose output is weighted (the last block of the backbone's last stage)")
    parser.add_argument('--method', metavar='NAME',
                        help='a method of the package grad-cam (GradCAM for classifiers, HiResCAM for the others)')
    parser.add_argument('--boxes', metavar='FILE',
                        help='COCO-style annotations of the images: also measure how the maps cover their objects')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cam'), metavar='DIR',
                        help='where results go (work_dirs/cam)')
    device_argument(parser)
    run_tool(run_cam, parser.parse_args(argv))


def run_cam(args: argparse.Namespace, device: torch.device) -> None:
    """Draw and measure maps as the arguments say, and print what there is."""
    read_safely(args)
    images = find_images(args.images)
    boxes = read_boxes(args.boxes, images) if args.boxes else {}
    models = [ExplainedModel(config, checkpoint, args.target_layer, args.method, device)
              for config, checkpoint in [(args.config, args.checkpoint), *args.compare]]
    comparison = compare_maps(models, images, args.out, args.class_name, boxes)
    if comparison.summary:
        console().print(coverage_table(comparison.summary))
    print('written:', *comparison.written, sep='\n  ')
