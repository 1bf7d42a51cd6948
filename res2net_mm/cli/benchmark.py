"""The command ``tools/analysis_tools/benchmark.py``: costs, times and memory of models, side by side."""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Sequence

from ..benchmark.classifiers import DEFAULT_ARCHS, benchmark_classifiers
from ..benchmark.contenders import OURS, PATHS, PEERS
from ..benchmark.report import answer_goals, classifier_table, write_classifier_report
from ..utils.text import console
from .benchmark_arguments import check_least, measuring_arguments, measuring_settings, parse_measuring, print_dot
from .command import run_tool

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Time models side by side."""
    parser = argparse.ArgumentParser(
        description="Compare parameters, multiply-adds, running times and memory of models, and with the paper's "
                    'Table 3.')
    parser.add_argument('presets', nargs='*', metavar='PRESET', default=DEFAULT_ARCHS,
                        help='names of presets (those of Table 3); resnet50 is what the others are compared with')
    parser.add_argument('--paths', nargs='+', choices=PATHS, default=['eager'], metavar='PATH',
                        help=f'ways to run a model, of {", ".join(PATHS)} (eager)')
    parser.add_argument('--peers', nargs='*', choices=PEERS, metavar='NAME',
                        help=f'also the models of {", ".join(PEERS)}, or of those that are named, if installed')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1, 8], metavar='N', help='(1 8)')
    parser.add_argument('--image-size', type=int, default=224, metavar='N', help='side of the images in pixels (224)')
    measuring_arguments(parser, 'benchmark', rounds=15)
    run_tool(run_benchmark, parse_measuring(parser, argv))


def run_benchmark(args: argparse.Namespace, device: torch.device) -> None:
    """Measure what the arguments name, and print what there is; files are written after every batch size."""
    check_least(args, batch_sizes=1, image_size=32, rounds=1)
    peers = [] if args.peers is None else args.peers or PEERS
    reports = benchmark_classifiers(args.presets, [OURS, *peers], args.paths, args.batch_sizes, args.image_size,
                                    measuring_settings(args, device), print_dot)
    args.out.mkdir(parents=True, exist_ok=True)
    for report in reports:
        print()
        written = write_classifier_report(report, args.out)
    console().print(classifier_table(report.rows))
    for goal in answer_goals(report.rows):
        print(f'{goal.title}:', *goal.answers, sep='\n  ')
    for line in report.left_out:
        print('left out:', line)
    print('written:', *written, sep='\n  ')
