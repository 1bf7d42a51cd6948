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

from ..utils.config import load_config, packaged_configs
from ..utils.provenance import provenance

TASKS = {  # config under configs/overfit: its data, and the metric that says whether it has learned the photos
    'faster_rcnn_r2n50': ('coco', 'coco/bbox_mAP_50'),
    'mask_rcnn_r2n50': ('coco', 'coco/segm_mAP_50'),
    'deeplabv3plus_r2n50': ('VOCdevkit/VOC2012', 'mIoU'),
    'simplebaseline_r2n50': ('coco', 'gt_boxes/AP'),
    'dss_r2n50': ('sod', 'msra_b/f_measure'),
}
MODELS = 'res2net_mm::faster_rcnn_r2n50_coco.py res2net_mm::simplebaseline_r2n50_coco.py'
TIMES = {  # part: how times are measured on a GPU, by default in bfloat16 with the channels of a pixel together
    'speed': 'benchmark.py --paths eager accelerate --peers --batch-sizes 1 32 256 --rounds 7',
    'compile': 'benchmark.py resnet50 res2net50_26w4s --paths accelerate compile accelerate-compile --peers timm '
               '--batch-sizes 1 32 256 --rounds 7',
    'triton': 'benchmark.py resnet50 res2net50_26w4s --paths compile accelerate-triton --peers timm '
              '--batch-sizes 1 32 256 --rounds 7',
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


def main():
    parser = argparse.ArgumentParser(prog='tools/gpu_check.sh', description=__doc__)
    parser.add_argument('--data', type=Path, help='for the tasks: a folder with coco/, VOCdevkit/VOC2012/ and sod/')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu_check'), help='where results go')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--iterations', type=int, help="train so long instead of the configs' schedules")
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, metavar='PART',
                        help=f'what is checked, of {", ".join(PARTS)} (all)')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('no CUDA device is available; --device cpu tries the check out')
    if 'tasks' in args.parts:
        if not args.data:
            parser.error('--data: the tasks need it; --parts leaves them out')
        missing = [folder for folder, _ in TASKS.values() if not (args.data / folder).is_dir()]
        if missing:
            parser.error(f'--data {args.data}: has no {" and no ".join(dict.fromkeys(missing))}')

    args.out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    report = dict(provenance(args.device), command=' '.join(sys.argv[1:]), versions=versions(), parts={}, runs=[])
    with open(args.out / 'gpu_check.log', 'w') as log:
        for part, row in measure(args, log):
            if part == 'tasks':
                report['runs'].append(row)
            else:
                report['parts'][part] = row
            report['seconds'] = round(time.time() - started)
            (args.out / 'gpu_check.json').write_text(json.dumps(report, indent=2) + '\n')
            print(part, json.dumps(row), flush=True)
    print(f'{report["seconds"]} s; {args.out / "gpu_check.json"}')
    sys.exit(1 if any('error' in row for row in [*report['parts'].values(), *report['runs']]) else 0)


def measure(args, log):
    """Yield what was found, one by one, each with the part that it belongs to."""
    for part in args.parts:
        if part == 'tests':
            yield part, run_tests(log)
        elif part in TIMES:
            yield part, run_benchmark(part, args, log)
        else:
            for task in args.tasks:
                for amp in (None, 'bfloat16') if args.device == 'cuda' else (None, ):  # most CPUs emulate bfloat16
                    yield part, run_task(task, amp, args, log)


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
    return outcome(*run(['-m', 'pytest', '-q', 'tests/test_cuda.py'], log))


def run_benchmark(part, args, log):
    """Measure the running times of a part; results go to a folder of its name in the output folder."""
    tool, *settings = TIMES[part].split()
    if args.device == 'cpu':
        settings = TRIALS[tool].split()
    elif '--dtype' not in settings:
        settings += ['--dtype', 'bfloat16', '--channels-last']
    path = packaged_configs().parent / 'tools' / 'analysis_tools' / tool
    return outcome(*run([str(path), *settings, '--device', args.device, '--out', str(args.out / part)], log))


def outcome(code, seconds, output):
    """How a command ended, in its last words."""
    last_words = (output.strip().splitlines() or [f'exit code {code}'])[-1]
    return {'seconds': seconds, 'error' if code else 'summary': last_words}


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
