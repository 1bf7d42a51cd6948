"""The command ``tools/misc/evidence.py``: Res2Net beside ResNet on two small datasets, with several seeds."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..reproduction.evidence import draw_evidence_figure, evidence_markdown, run_experiments, write_datasets
from ..reproduction.schedules import SCHEDULES
from .arguments import device_argument
from .command import TOOL_ERRORS, fail, run_command
from .reproduce import INTERRUPTED, terminal_output


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the report: the command ``tools/misc/evidence.py``."""
    args = _parse_arguments(argv)
    try:
        run_command(_run, args, errors=TOOL_ERRORS)
    except KeyboardInterrupt:
        fail(INTERRUPTED)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command's arguments."""
    parser = argparse.ArgumentParser(description='Train Res2Net and ResNet twins on two small datasets with several '
                                     'seeds, and write the mean and the spread of their accuracies.')
    parser.add_argument('--seeds', type=int, default=3, metavar='N', help='runs of every config (3)')
    parser.add_argument('--schedule', choices=list(SCHEDULES), default='full',
                        help='full: the configs as they are; short: a tenth; smoke: a few iterations (full)')
    device_argument(parser)
    parser.add_argument('--data-only', action='store_true', help='make the data and stop')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/evidence'), metavar='DIR',
                        help='where data and runs go (work_dirs/evidence)')
    parser.add_argument('--report', type=Path, default=Path('docs/results/evidence.md'), metavar='FILE.md',
                        help='the report; the figure goes beside it (docs/results/evidence.md)')
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error(f'argument --seeds: {args.seeds} must be at least 2, or there is no spread')
    return args


def _run(args: argparse.Namespace) -> None:
    """Make the data, run what is missing, and write the report."""
    output = terminal_output()
    write_datasets(args.out / 'data', output.log)
    if args.data_only:
        return
    experiments = run_experiments(args.out, args.seeds, args.schedule, args.device, output)
    figure = args.report.with_suffix('.png')
    args.report.parent.mkdir(parents=True, exist_ok=True)
    draw_evidence_figure(experiments, figure)
    args.report.write_text(evidence_markdown(experiments, args.seeds, args.schedule, figure.name), encoding='utf-8')
    print(f'Wrote {args.report} and {figure}')
