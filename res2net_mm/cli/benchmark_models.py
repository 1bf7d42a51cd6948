"""The command ``tools/analysis_tools/benchmark_models.py``: images per second of whole models."""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Sequence

from ..acceleration.backends import BACKENDS, CPU_BACKENDS
from ..benchmark.detectors import benchmark_config, build_models, find_test_size
from ..benchmark.models_report import ModelReport, models_table, write_model_report
from ..utils.config import config_name, load_config
from .benchmark_arguments import check_least, measuring_arguments, measuring_settings, parse_measuring
from .command import run_tool

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> None:
    """Time whole models."""
    parser = argparse.ArgumentParser(
        description='Compare images per second of whole models: with our backbone, plain and accelerated, and with '
                    'those of the toolbox.')
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help="configs of models with our Res2Net, files or 'res2net_mm::NAME.py'")
    parser.add_argument('--backends', nargs='*', choices=BACKENDS, default=['auto'], metavar='NAME',
                        help=f'what runs accelerated backbones, of {", ".join(BACKENDS)} (auto)')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1], metavar='N', help='(1)')
    parser.add_argument('--image-size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'),
                        help="in pixels (that of each config's test pipeline, or else its crop_size)")
    measuring_arguments(parser, 'benchmark_models', rounds=15)
    run_tool(run_benchmark_models, parse_measuring(parser, argv))


def run_benchmark_models(args: argparse.Namespace, device: torch.device) -> None:
    """Measure what the arguments name, and print what there is; files are written after every batch."""
    check_least(args, batch_sizes=1, rounds=1, **(dict(image_size=32) if args.image_size else {}))
    outside = set(args.backends) & set(CPU_BACKENDS)
    if outside and (device.type != 'cpu' or args.dtype != 'float32'):
        raise ValueError(f'--backends {" ".join(sorted(outside))}: run on the CPU and in float32 only')
    configs = {config_name(path): load_config(path) for path in args.configs}
    sizes = {name: tuple(args.image_size or find_test_size(name, cfg)) for name, cfg in configs.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    settings = measuring_settings(args, device)
    report = ModelReport(settings, settings.describe())
    for name, cfg in configs.items():
        models = build_models(cfg, args.backends, settings)
        for batch_size in args.batch_sizes:
            report.rows += benchmark_config(name, cfg, models, batch_size, sizes[name], args.rounds)
            written = write_model_report(report, args.out)
    print(models_table(report.rows))
    print('written:', *written, sep='\n  ')
