"""Trainings that are killed with -9 again and again, and what is left of them.

    python tests/reliability/campaign.py DIR [--scenario NAME ...]      in DIR: kills.jsonl, one line for each kill

A scenario is a training of a tiny classifier by ``tools/train.py`` or ``tools/dist_train.sh``, with random crops and
flips, dropout and Mixup. It is run once without a break, and once killed at each of its moments in turn and resumed by
``--resume``. The second must end with the first one's weights, optimizer state and best checkpoint, bit for bit; and
must go on from the last save that had ended, every time.
"""
import argparse
import json
import random
import re
import shutil
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # where this file is run as a script
from killing import NUMBERED, Command, Kill, Watch, live  # noqa: E402

CONFIG = """
default_scope = 'mmpretrain'
randomness = dict(seed=5)
env_cfg = dict()
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=4, mean=[127.5, 127.5, 127.5], std=[63.75, 63.75, 63.75]),
    backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='StackedLinearClsHead', mid_channels=[16], dropout_rate=0.3, num_classes=4, in_channels=256,
              loss=dict(type='CrossEntropyLoss', use_soft=True)),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.5)))
loader = dict(batch_size=8 // {processes}, num_workers={workers}, persistent_workers={persistent},
              collate_fn=dict(type='default_collate'))
train_dataloader = dict(
    **loader,
    sampler=dict(type='{sampler}', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='images/train', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]))
val_dataloader = dict(
    **loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root='images/val', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
val_evaluator = dict(type='Accuracy', topk=(1, ))
val_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
custom_hooks = {hooks}
"""
BY_EPOCH = """
train_cfg = dict(by_epoch=True, max_epochs={length}, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=20),
                   dict(type='CosineAnnealingLR', T_max={length}, convert_to_iter_based=True)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1),
                     checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='accuracy/top1'))
"""
BY_ITERATION = """
train_cfg = dict(by_epoch=False, max_iters=5 * {length}, val_interval=6)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=20)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=1),
                     checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=1,
                                     save_best='accuracy/top1'))
log_processor = dict(by_epoch=False)
"""

@dataclass
class Scenario:
    """A training and the kills it has to survive; ``hooks`` are more custom hooks, ``length`` its epochs of 5 steps."""

    name: str
    kills: list
    processes: int = 1
    workers: int = 0
    persistent: bool = False
    by_epoch: bool = True
    sampler: str = 'DefaultSampler'
    hooks: list = field(default_factory=list)
    length: int = 12

    def write(self, folder):
        """Write the config and the images, once for all runs of the scenario."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'tiny.py').write_text(
            (CONFIG + (BY_EPOCH if self.by_epoch else BY_ITERATION)).format(**vars(self)))
        rng = np.random.default_rng(0)
        for split, count in (('train', 40), ('val', 24)):
            for i in range(count):
                path = folder / 'images' / split / str(i % 4) / f'{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                image = rng.normal(40 + 50 * (i % 4), 60, (16, 16, 3)).clip(0, 255).astype(np.uint8)
                cv2.imwrite(str(path), image)


SCENARIOS = [
    Scenario('epochs', [
        Kill('checkpoint begun'), Kill('validation'), Kill('checkpoint written', 2), Kill('checkpoint named', 2),
        Kill('best begun'), Kill('outdated deleted', 2), Kill('step', 3)]),
    Scenario('epochs, two workers', [
        Kill('step', 7), Kill('checkpoint begun', 2), Kill('pointer begun', 2), Kill('best written'),
        Kill('validation', 2), Kill('pointer named', 2)], workers=2),
    Scenario('iterations, two persistent workers', [
        Kill('step', 3), Kill('checkpoint begun', 2), Kill('validation'), Kill('checkpoint named'),
        Kill('outdated deleted', 2), Kill('pointer named')], workers=2, persistent=True, by_epoch=False),
    Scenario('iterations, endless sampler', [
        Kill('checkpoint written', 2), Kill('step', 2), Kill('pointer written', 2), Kill('best named'),
        Kill('pointer begun'), Kill('checkpoint begun', 3)], by_epoch=False, sampler='InfiniteSampler'),
    Scenario('two processes', [
        Kill('checkpoint begun'), Kill('best begun'), Kill('step', 8, 'launcher'), Kill('checkpoint named', 2),
        Kill('validation', 1, 'rank'), Kill('pointer begun', 2), Kill('checkpoint begun', 2, 'launcher')],
        processes=2),
    Scenario('two processes, two persistent workers', [
        Kill('checkpoint written'), Kill('step', 8, 'rank'), Kill('outdated deleted', 2), Kill('checkpoint begun', 2)],
        processes=2, workers=2, persistent=True),
    Scenario('two processes, iterations', [
        Kill('checkpoint begun', 2), Kill('step', 6), Kill('checkpoint named', 2), Kill('validation')],
        processes=2, by_epoch=False, sampler='InfiniteSampler'),
]


# A run and its lives.


def start(scenario, folder, name, log, resume, command):
    work_dir = folder / name
    work_dir.mkdir(exist_ok=True)
    log.touch()
    arguments = ['--device', 'cpu', '--work-dir', name, *(['--resume'] if resume else [])]
    return Watch(work_dir, log), command(folder, arguments, scenario.processes, log)


def run(scenario, folder, name, command, resume=False):
    """Run to the end; returns the exit code, and what was said."""
    log = folder / f'{name}_{resume}.log'
    watch, process = start(scenario, folder, name, log, resume, command)
    live(watch, process)
    watch.close()
    return process.poll(), log.read_text(errors='replace')


def run_unbroken(scenario, folder, command):
    """The run to compare with; in the same folder it is done once."""
    if (folder / 'unbroken').exists():
        return 0, ''
    scenario.write(folder)
    return run(scenario, folder, 'unbroken', command)


def whole(path):
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def look(work_dir):
    """What a work directory holds: numbered checkpoints, whole and not, best ones, unfinished files, the pointer."""
    names = sorted(path.name for path in work_dir.iterdir() if path.is_file())
    numbered = {int(re.search(r'\d+', name)[0]): whole(work_dir / name)
                for name in names if re.fullmatch(NUMBERED, name) and name[0] != '.'}
    pointer = work_dir / 'last_checkpoint'
    return dict(
        whole=sorted(number for number, good in numbered.items() if good),
        broken=sorted(number for number, good in numbered.items() if not good),
        best=[name for name in names if name.startswith('best_')],
        unfinished=[re.sub(r'\.\d+\.', '.PID.', name) for name in names if 'unfinished' in name],
        pointer=pointer.read_text().rpartition('/')[2] if pointer.exists() else None)


def cut_off(files):
    """Whether the files show that a save was cut off: between two saves there is one checkpoint, and its name."""
    pointed = [int(number) for number in re.findall(r'\d+', files['pointer'] or '')]
    return bool(files['unfinished'] or files['broken'] or len(files['best']) > 1 or pointed != files['whole'])


def run_scenario(scenario, folder, command=Command, report=lambda row: None):
    """Train without a break, and with the scenario's kills; returns what went wrong, and reports every kill.

    Args:
        scenario (Scenario): The scenario.
        folder (Path): Where to run it.
        command (type): Command or WarmCommand.
        report (Callable[[dict], None]): Called after every kill, and at the end. Defaults to nothing.

    Returns:
        list[str]: The faults; an empty list if nothing is lost.
    """
    code, said = run_unbroken(scenario, folder, command)
    if code != 0:
        return [f'the unbroken run: {said[-500:]}']

    faults, newest = [], 0
    for life, kill in enumerate([*scenario.kills, None]):
        log = folder / f'life_{life}.log'
        watch, process = start(scenario, folder, 'killed', log, life > 0, command)
        killed, saved, left = live(watch, process, kill)
        watch.close()
        said, files = log.read_text(errors='replace'), look(folder / 'killed')
        resumed = re.search(r'resumed epoch: (\d+), iter: (\d+)', said)
        resumed = int(resumed[1 if scenario.by_epoch else 2]) if resumed else 0
        problems = [
            *[f'goes on from {resumed}, and {newest} was saved'] * (resumed != newest),
            *[f'{saved or newest} was saved, and is lost'] * (max(files['whole'], default=0) < (saved or newest)),
            *[f'{len(left)} processes outlived it'] * bool(left),
            *['it ended before'] * bool(kill and not killed),
            *[f'exit code {process.poll()}: {said[-500:]}'] * (not killed and process.poll() != 0),
            *['exit code 0'] * (killed and process.poll() == 0)]
        report(dict(scenario=scenario.name, life=life, resumed_from=resumed, kill=kill and kill.moment,
                    victims=kill and kill.victims, killed=killed, left=files,
                    inside_save=killed and kill.in_save and cut_off(files), exit_code=process.poll(), faults=problems))
        faults += [f'{scenario.name}, life {life}, {kill}: {problem}' for problem in problems]
        if not killed and process.poll() != 0:
            return faults
        newest = max(files['whole'], default=0)
    return faults + [f'{scenario.name}: {fault}' for fault in differences(folder / 'unbroken', folder / 'killed')]


def differences(one, other):
    """What is not bit for bit the same in the checkpoints of two runs; a list of texts."""
    names, others = (sorted(path.name for path in folder.iterdir() if path.is_file()) for folder in (one, other))
    if names != others:
        return [f'files {names} and {others}']
    found = []
    for name in names:
        if name.endswith('.pth'):
            wanted, values = (dict(flatten(read(folder / name), '')) for folder in (one, other))
            different = [key for key in {**wanted, **values} if not equal(values.get(key), wanted.get(key))]
            found += [f'{name}: {len(different)} of {len(wanted)} values differ: {", ".join(different[:3])}'
                      ] if different else []
    return found


def read(path):
    """A checkpoint without what tells the time: the states of training, where it is, and its random numbers."""
    checkpoint = torch.load(path, weights_only=False)
    checkpoint.pop('message_hub')
    meta = checkpoint.pop('meta')
    return {**checkpoint, **{key: meta.get(key) for key in ('epoch', 'iter', 'random_states')}}


def flatten(value, key):
    """The numbers and tensors in dicts and lists, each with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    if items is None:
        yield key, value
    else:
        for name, item in items:
            yield from flatten(item, f'{key}.{name}')


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and (one == other or callable(one))


def main():
    parser = argparse.ArgumentParser(description='Kill trainings with -9, and see what is lost.')
    parser.add_argument('dir', type=Path, help='where to run them')
    parser.add_argument('--scenario', nargs='+', choices=[scenario.name for scenario in SCENARIOS],
                        help='only these')
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    rows, faults = [], []
    with open(args.dir / 'kills.jsonl', 'a') as lines:
        def report(row):
            rows.append(row)
            print(json.dumps(row), file=lines, flush=True)

        for number, scenario in enumerate(SCENARIOS):
            if args.scenario and scenario.name not in args.scenario:
                continue
            begin = time.monotonic()
            random.seed(number)
            folder = args.dir.resolve() / str(number)
            shutil.rmtree(folder, ignore_errors=True)
            new = run_scenario(scenario, folder, report=report)
            faults += new
            print(f'{scenario.name}: {"; ".join(new) or "bit for bit"} ({time.monotonic() - begin:.0f} s)', flush=True)
    print(summary(rows, faults))
    sys.exit(bool(faults))


def summary(rows, faults):
    """What a campaign has shown, as a line."""
    kills = [row for row in rows if row['killed']]
    return (f'{len(kills)} kills, {sum(row["inside_save"] for row in kills)} of them inside saves; '
            f'{sum(not row["faults"] for row in rows)} of {len(rows)} lives as they should be; {len(faults)} faults')


if __name__ == '__main__':
    main()
