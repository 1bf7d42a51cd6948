"""The check of a GPU: the CUDA tests, running times, then every task on a few images, all written to a report."""
from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator, TextIO

import torch

from ..utils.config import find_config, load_config, tool_path
from ..utils.provenance import provenance


@dataclass(frozen=True)
class Task:
    """The data of a config of ``configs/overfit``, and the metric that says whether it has learned its images."""

    folder: str
    metric: str


TASKS = {
    'faster_rcnn_r2n50': Task('coco', 'coco/bbox_mAP_50'),
    'mask_rcnn_r2n50': Task('coco', 'coco/segm_mAP_50'),
    'deeplabv3plus_r2n50': Task('VOCdevkit/VOC2012', 'mIoU'),
    'simplebaseline_r2n50': Task('coco', 'gt_boxes/AP'),
    'dss_r2n50': Task('sod', 'msra_b/f_measure'),
}
MODELS = 'res2net_mm::faster_rcnn_r2n50_coco.py res2net_mm::simplebaseline_r2n50_coco.py'
TIMES = {  # part: how times are measured on a GPU, by default in bfloat16 with the channels of a pixel together
    'speed': 'benchmark.py --paths eager accelerate --peers --batch-sizes 1 32 256 --rounds 7',
    'triton': 'benchmark.py resnet50 res2net50_26w4s --paths eager accelerate accelerate-triton --peers timm '
              '--batch-sizes 1 32 256 --rounds 7',
    # Each model is compiled for minutes.
    'compile': 'benchmark.py res2net50_26w4s --paths compile accelerate-triton --peers timm --batch-sizes 32 '
               '--rounds 7',
    'training': 'benchmark.py resnet50 res2net50_26w4s res2net50_v1b_26w4s --paths train --peers --batch-sizes 32 256 '
                '--rounds 7',
    'training-compile': 'benchmark.py res2net50_26w4s --paths train train-accelerate train-compile '
                        '--peers timm mmpretrain --batch-sizes 32',
    'curves': 'cost_curves.py --at 32 224 --batch-sizes 1 4 16 64 256 --rounds 5',
    'models': f'benchmark_models.py {MODELS} --batch-sizes 1 8',
    'models-float32': f'benchmark_models.py {MODELS} --batch-sizes 1 8 --dtype float32',
}
TRIALS = {  # the same tools on a CPU: only whether they run
    'benchmark.py': 'resnet50 --paths accelerate train --batch-sizes 2 --image-size 32 --rounds 2',
    'cost_curves.py': 'resnet50 --curves batch image --batch-sizes 1 2 --image-sizes 32 64 --at 1 32 --rounds 2',
    'benchmark_models.py': 'res2net_mm::simplebaseline_r2n50_coco.py --image-size 64 64 --rounds 2',
}
PARTS = ('tests', *TIMES, 'tasks')
PACKAGES = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmdetection', 'mmsegmentation', 'mmpose',
            'mmpretrain')


@dataclass(frozen=True)
class CheckSettings:
    """What is checked, on which device and data, and where the results go."""

    out: Path
    device: str = 'cuda'
    data: Path = Path('data')  # of the tasks: a folder with coco/, VOCdevkit/VOC2012/ and sod/
    iterations: int | None = None  # of every task's training; None: as its config says
    parts: tuple[str, ...] = PARTS
    tasks: tuple[str, ...] = tuple(TASKS)


def missing_folders(settings: CheckSettings) -> list[str]:
    """Return the folders that the chosen tasks need and that the data do not have."""
    folders = dict.fromkeys(TASKS[task].folder for task in settings.tasks)
    return [folder for folder in folders if not (settings.data / folder).is_dir()]


def check_gpu(settings: CheckSettings, command: str, show: Callable[[str, dict], None]) -> dict:
    """Run all parts of the check.

    The report is written to ``gpu_check.json`` in the output folder after each part, and all output to
    ``gpu_check.log``.

    Args:
        settings (CheckSettings): What is checked.
        command (str): The arguments of the command that asks for it, for the report.
        show (Callable): Is called with the name of a part and what was measured, as soon as it is.

    Returns:
        dict: The report. A row of its 'parts' (a dict) and 'runs' (a list, of the tasks) that failed has an 'error'.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    report: dict[str, Any] = dict(provenance(settings.device), command=command, versions=versions(), parts={}, runs=[])
    with open(settings.out / 'gpu_check.log', 'w') as log:
        for part, row in check_parts(settings, log):
            if part == 'tasks':
                report['runs'].append(row)
            else:
                report['parts'][part] = row
            report['seconds'] = round(time.time() - started)
            (settings.out / 'gpu_check.json').write_text(json.dumps(report, indent=2) + '\n')
            show(part, row)
    return report


def check_parts(settings: CheckSettings, log: TextIO) -> Iterator[tuple[str, dict]]:
    """Yield what was measured, one by one, each with the part that it belongs to."""
    for part in settings.parts:
        if part == 'tests':
            yield part, run_tests(log)
        elif part in TIMES:
            yield part, run_benchmark(part, settings, log)
        else:
            for task in settings.tasks:
                for amp in (None, 'bfloat16') if settings.device == 'cuda' else (None, ):  # most CPUs emulate it
                    yield part, run_task(task, amp, settings, log)


def versions() -> dict[str, str | None]:
    """Return the versions of what matters; OpenMMLab's packages have their own names or those of the OneDL forks."""
    by_package = {'python': platform.python_version(), 'cuda': torch.version.cuda}
    for installed in distributions():
        name = installed.metadata['Name'] or ''
        if name.replace('onedl-', '') in PACKAGES:
            by_package[name] = installed.version
    return by_package


def run_tests(log: TextIO) -> dict:
    """Run the CUDA tests of the checkout (they skip where there is no CUDA)."""
    files = ['tests/test_cuda.py', 'tests/engine/test_stop_at_invalid_loss.py']
    return summary_row(*run_python(['-m', 'pytest', '-q', *files], log))


def run_benchmark(part: str, settings: CheckSettings, log: TextIO) -> dict:
    """Measure the running times of a part; results go to a folder of its name in the output folder."""
    tool, *options = TIMES[part].split()
    if settings.device == 'cpu':
        options = TRIALS[tool].split()
    elif '--dtype' not in options:
        options += ['--dtype', 'bfloat16', '--channels-last']
    options += ['--device', settings.device, '--out', str(settings.out / part)]
    return summary_row(*run_python([str(tool_path(tool)), *options], log))


def summary_row(code: int, seconds: float, output: str) -> dict:
    """Return how a command ended, in its last words."""
    last_words = (output.strip().splitlines() or [f'exit code {code}'])[-1]
    return {'seconds': seconds, 'error' if code else 'summary': last_words}


def run_task(task: str, amp: str | None, settings: CheckSettings, log: TextIO) -> dict:
    """Train and test one config.

    Args:
        task (str): The config's name in ``configs/overfit``.
        amp (str | None): The type of mixed precision; None: float32.
        settings (CheckSettings): Device, data, iterations and output folder.
        log (TextIO): Where all output goes.

    Returns:
        dict: What was measured: first and last loss, the metric, seconds, images per second at the median of the logged
        times, peak memory in MB (None on the CPU); or 'error', if a command failed.
    """
    config = find_config(f'overfit/{task}.py')
    work_dir = settings.out / f'{task}_{amp or "float32"}'
    data_root = settings.data / TASKS[task].folder
    common = ['--data-root', str(data_root), '--device', settings.device, '--work-dir', str(work_dir)]
    options = []
    if settings.iterations:
        iterations = settings.iterations
        options = ['--cfg-options', f'train_cfg.max_iters={iterations}', f'train_cfg.val_interval={iterations}',
                   f'default_hooks.checkpoint.interval={iterations}', 'default_hooks.logger.interval=1']
    row: dict[str, Any] = dict(task=task, precision=amp or 'float32')
    train = [str(tool_path('train.py')), str(config), *common, *(['--amp', amp] if amp else []), *options]
    code, row['train_seconds'], output = run_python(train, log)
    if code:
        return {**row, 'error': output.strip().splitlines()[-1]}
    scalars = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime)
    steps = [step for step in map(json.loads, scalars.read_text().splitlines()) if 'loss' in step]
    batch_size = load_config(work_dir / f'{task}.py').train_dataloader.batch_size
    row.update(iterations=steps[-1]['step'], loss_first=steps[0]['loss'], loss_last=steps[-1]['loss'],
               images_per_second=batch_size / median(step['time'] for step in steps[1:] or steps),
               peak_memory_mb=max(step.get('memory', 0) for step in steps) or None)

    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    test = [str(tool_path('test.py')), str(config), checkpoint, *common, *options]
    code, row['test_seconds'], output = run_python(test, log)
    if code:
        return {**row, 'error': output.strip().splitlines()[-1]}
    tested = max(work_dir.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    metric = TASKS[task].metric
    row[metric] = json.loads(tested.read_text()).get(metric)
    return row


def run_python(arguments: list[str], log: TextIO) -> tuple[int, float, str]:
    """Run Python with these arguments; return the exit code, the seconds and the output, which also goes to the log."""
    started = time.time()
    log.write(f'\n$ python {" ".join(arguments)}\n')
    # The tests hide all GPUs from themselves unless it is said which they may use.
    env = {'CUDA_VISIBLE_DEVICES': ','.join(map(str, range(torch.cuda.device_count()))), **os.environ}
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env)
    log.write(done.stdout)
    log.flush()
    return done.returncode, round(time.time() - started, 1), done.stdout
