"""What ``tools/gpu_check.sh`` does: the CUDA tests, running times, then every task on a few photos, all noted."""
import argparse
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

import torch

from .config import load_config, packaged_configs
from .machine import provenance

TASKS = {  # config under configs/overfit: its data, and the metric that says whether it has learned the photos
    'faster_rcnn_r2n50': ('coco', 'coco/bbox_mAP_50'),
    'mask_rcnn_r2n50': ('coco', 'coco/segm_mAP_50'),
    'deeplabv3plus_r2n50': ('VOCdevkit/VOC2012', 'mIoU'),
    'simplebaseline_r2n50': ('coco', 'gt_boxes/AP'),
    'dss_r2n50': ('sod', 'msra_b/f_measure'),
}
PACKAGES = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmdetection', 'mmsegmentation', 'mmpose',
            'mmpretrain')


def main():
    parser = argparse.ArgumentParser(prog='tools/gpu_check.sh', description=__doc__)
    parser.add_argument('--data', type=Path, required=True, help='a folder with coco/, VOCdevkit/VOC2012/ and sod/')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'), help='where results go')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--iterations', type=int, help="train so long instead of the configs' schedules")
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('no CUDA device is available; --device cpu tries the check out')
    missing = [folder for folder, _ in TASKS.values() if not (args.data / folder).is_dir()]
    if missing:
        parser.error(f'--data {args.data}: has no {" and no ".join(dict.fromkeys(missing))}')

    args.out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    with open(args.out / 'gpu_check.log', 'w') as log:
        report = dict(provenance(args.device), command=' '.join(sys.argv[1:]), versions=versions(),
                      tests=run_tests(log), speed=run_benchmark(args, log), runs=[])
        for task in args.tasks:
            for amp in (None, 'bfloat16') if args.device == 'cuda' else (None, ):  # most CPUs emulate bfloat16
                row = run_task(task, amp, args, log)
                report['runs'].append(row)
                report['seconds'] = round(time.time() - started)
                (args.out / 'gpu_check.json').write_text(json.dumps(report, indent=2) + '\n')
                print(json.dumps(row), flush=True)
    print(f'{report["seconds"]} s; {args.out / "gpu_check.json"}')
    parts = [report['tests'], report['speed'], *report['runs']]
    sys.exit(1 if any(part.get('exit_code') or 'error' in part for part in parts) else 0)


def versions():
    """The versions of what matters; OpenMMLab's packages are there under their names or those of the OneDL forks."""
    found = {'python': platform.python_version(), 'cuda': torch.version.cuda}
    for installed in distributions():
        name = installed.metadata['Name'] or ''
        if name.replace('onedl-', '') in PACKAGES:
            found[name] = installed.version
    return found


def run_tests(log):
    """Run the CUDA tests of the checkout (they skip where there is no CUDA)."""
    code, seconds, output = run(['-m', 'pytest', '-q', 'tests/test_cuda.py'], log)
    return dict(exit_code=code, seconds=seconds, summary=output.strip().splitlines()[-1] if output.strip() else '')


def run_benchmark(args, log):
    """Time the models of Table 3, in bfloat16 on a GPU; results go to ``benchmark`` in the output folder."""
    settings = ['--dtype', 'bfloat16', '--channels-last', '--batch-sizes', '1', '32', '256']
    if args.device == 'cpu':  # only whether it runs
        settings = ['--batch-sizes', '1', '--image-size', '64', '--rounds', '2']
    tool, out = packaged_configs().parent / 'tools' / 'benchmark.py', args.out / 'benchmark'
    code, seconds, _ = run([str(tool), *settings, '--device', args.device, '--out', str(out)], log)
    return dict(exit_code=code, seconds=seconds)


def run_task(task, amp, args, log):
    """Train and test one config.

    Returns:
        dict: What was measured: first and last loss, the metric, seconds, images per second at the median of the logged
        times, peak memory in MB (None on the CPU); or 'error', if a command failed.
    """
    folder, metric = TASKS[task]
    config = packaged_configs() / 'overfit' / f'{task}.py'
    work_dir = args.out / f'{task}_{amp or "float32"}'
    common = ['--data-root', str(args.data / folder), '--device', args.device, '--work-dir', str(work_dir)]
    options = []
    if args.iterations:
        options = ['--cfg-options', f'train_cfg.max_iters={args.iterations}',
                   f'train_cfg.val_interval={args.iterations}', f'default_hooks.checkpoint.interval={args.iterations}',
                   'default_hooks.logger.interval=1']
    tools = packaged_configs().parent / 'tools'
    row = dict(task=task, precision=amp or 'float32')
    train = [str(tools / 'train.py'), str(config), *common, *(['--amp', amp] if amp else []), *options]
    code, row['train_seconds'], output = run(train, log)
    if code:
        return {**row, 'error': output.strip().splitlines()[-1]}
    scalars = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime)
    steps = [step for step in map(json.loads, scalars.read_text().splitlines()) if 'loss' in step]
    batch_size = load_config(work_dir / f'{task}.py').train_dataloader.batch_size
    row.update(iterations=steps[-1]['step'], loss_first=steps[0]['loss'], loss_last=steps[-1]['loss'],
               images_per_second=batch_size / median(step['time'] for step in steps[1:] or steps),
               peak_memory_mb=max(step.get('memory', 0) for step in steps) or None)

    checkpoint = (work_dir / 'last_checkpoint').read_text().strip()
    code, row['test_seconds'], output = run(
        [str(tools / 'test.py'), str(config), checkpoint, *common, *options], log)
    if code:
        return {**row, 'error': output.strip().splitlines()[-1]}
    tested = max(work_dir.glob('*/*.json'), key=lambda path: path.stat().st_mtime)
    row[metric] = json.loads(tested.read_text()).get(metric)
    return row


def run(arguments, log):
    """Run Python with these arguments; return the exit code, the seconds and the output, which also goes to the log."""
    started = time.time()
    log.write(f'\n$ python {" ".join(arguments)}\n')
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log.write(done.stdout)
    log.flush()
    return done.returncode, round(time.time() - started, 1), done.stdout


if __name__ == '__main__':
    main()
