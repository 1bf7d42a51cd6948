"""The command ``tools/gpu_check.sh``."""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Sequence

from ..benchmark.gpu_check import PARTS, TASKS, CheckSettings, check_gpu, missing_folders


def main(argv: Sequence[str] | None = None) -> None:
    """Check the CUDA tests, running times and every task on one device; end with exit code 1 if anything failed."""
    argv = sys.argv[1:] if argv is None else argv
    settings = read_settings(argv)
    report = check_gpu(settings, ' '.join(argv), lambda part, row: print(part, json.dumps(row), flush=True))
    print(f'{report["seconds"]} s; {settings.out / "gpu_check.json"}')
    sys.exit(1 if any('error' in row for row in [*report['parts'].values(), *report['runs']]) else 0)


def read_settings(argv: Sequence[str]) -> CheckSettings:
    """Read the arguments; end with a message where they ask for what is not there."""
    parser = argparse.ArgumentParser(
        prog='tools/gpu_check.sh',
        description='Run the CUDA tests, measure running times, then train and test every task on a few images.')
    parser.add_argument('--data', type=Path, help='for the tasks: a folder with coco/, VOCdevkit/VOC2012/ and sod/')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'), help='where results go')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--iterations', type=int, help="train so long instead of the configs' schedules")
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, metavar='PART',
                        help=f'what is checked, of {", ".join(PARTS)} (all)')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    args = parser.parse_args(argv)
    import torch
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('no CUDA device is available; --device cpu tries the check out')
    if 'tasks' in args.parts and not args.data:
        parser.error('--data: the tasks need it; --parts leaves them out')
    settings = CheckSettings(args.out, args.device, args.data or Path(), args.iterations, tuple(args.parts),
                             tuple(args.tasks))
    missing = missing_folders(settings) if 'tasks' in args.parts else []
    if missing:
        parser.error(f'--data {args.data}: has no {" and no ".join(missing)}')
    return settings


if __name__ == '__main__':
    main()
