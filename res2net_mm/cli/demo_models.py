"""The command ``tools/dev/demo_models.py``: the small models and the images that come with the package, in ``demo/``.

    tools/dev/demo_models.py --bccd DIR                   all of it
    tools/dev/demo_models.py demo_classifier_r2n26        one model

For each model it makes the data, trains (``tools/train.py --deterministic``), rounds the weights to float16, tests the
rounded ones (``tools/test.py``), and only then puts them into ``demo/weights``, with what was measured in
``demo/models.json``. What is there already in ``--work-dir`` is not done again.
"""
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from ..utils.config import config_name, demo_folder, find_config, tool_path
from ..utils.errors import UserError
from ..utils.whole_file import whole_file
from .command import TOOL_ERRORS, run_command

IMAGES = 'images'
ENV = {'OMP_NUM_THREADS': '1'}  # sums in the same order on machines with more cores
HELD_OUT = ('BloodImage_00011', 'BloodImage_00068', 'BloodImage_00365')  # of BCCD's list 'test'
SHAPES_SEEDS = (101, 108, 114)  # of the generated images: seeds of no data set
ONE_SHAPE_SEED = 309  # likewise, of the first image of one shape
QUICK = dict(train=16, val=8)


@dataclass(frozen=True)
class Measure:
    """A number of a test.

    Args:
        key (str): What the log of the test calls it.
        times (float): By this it is in %. Defaults to 1.
        setting (str): The ``--setting`` of the test. Defaults to '': none.
    """

    key: str
    times: float = 1.
    setting: str = ''


@dataclass(frozen=True)
class DemoModel:
    """A model that comes with the package.

    Args:
        data (str): The folder of its data.
        write (Callable): Writes them: takes the folder, the folder of BCCD or None, and the numbers of images.
        measures (Mapping[str, Measure]): What is measured, by its name in the table.
        length (str): The setting of the config that says how long it is trained. Defaults to 'train_cfg.max_iters'.
        start (str): The model of the demo whose backbone it starts from. Defaults to '': random weights.
    """

    data: str
    write: Callable[[Path, Path | None, Mapping[str, int]], None]
    measures: Mapping[str, Measure]
    length: str = 'train_cfg.max_iters'
    start: str = ''


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    known = (*MODELS, IMAGES)
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'what to make: {", ".join(known)} (all)')
    parser.add_argument('--bccd', type=Path, metavar='DIR', help='the folder of the dataset BCCD, which holds BCCD/ '
                        '(https://github.com/Shenggan/BCCD_Dataset); for the detector and the images')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo_models'), metavar='DIR',
                        help='where data and runs go (work_dirs/demo_models)')
    parser.add_argument('--out', type=Path, default=demo_folder(), metavar='DIR', help='where results go (demo)')
    parser.add_argument('--quick', action='store_true', help='a handful of images and one iteration or epoch, to see '
                        'that the command works')
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"argument NAME: '{unknown[0]}' must be one of {', '.join(known)}")
    args.names = args.names or list(known)
    run_command(make_demo, args, errors=TOOL_ERRORS)


def make_demo(args: Namespace) -> None:
    """Make the models and images that the arguments name.

    Raises:
        UserError: If BCCD is needed and not given, or a training or a test failed.
    """
    (args.out / 'weights').mkdir(parents=True, exist_ok=True)
    for name in args.names:
        if name == IMAGES:
            write_images(args.out, args.bccd)
        else:
            make_model(name, MODELS[name], args)


def make_model(name: str, model: DemoModel, args: Namespace) -> None:
    """Train a model, round its weights to float16, test these, and put them and the numbers into ``args.out``."""
    from ..checkpoints.files import read_checkpoint, write_checkpoint
    from ..checkpoints.publishing import published_meta, round_to_half, select_weights
    from ..reproduction.evidence import write_once
    data, run = args.work_dir / model.data, args.work_dir / name
    write_once(data, lambda root: model.write(root, args.bccd, QUICK if args.quick else {}), print)
    config = str(find_config(f'{name}.py'))
    options = ['--data-root', str(data), '--device', 'cpu']
    settings = [f'{model.length}=1', 'train_cfg.val_interval=1'] if args.quick else []
    if model.start:
        settings.append(f'model.backbone.init_cfg.checkpoint={args.out / "weights" / model.start}.safetensors')
    started = time.monotonic()
    if not (run / 'minutes.json').is_file():
        call_tool('train.py', config, '--deterministic', '--resume', '--work-dir', str(run), *options,
                 *(['--cfg-options', *settings] if settings else []))
        with whole_file(run / 'minutes.json') as file:
            file.write(json.dumps(round((time.monotonic() - started) / 60, 1)).encode())

    trained = read_checkpoint(run / Path((run / 'last_checkpoint').read_text().strip()).name)
    weights = run / f'{name}.safetensors'
    write_checkpoint(dict(state_dict=round_to_half(select_weights(trained)), meta=published_meta(trained)), weights,
                     force=True)
    measured = measure_weights(config, weights, model.measures, run, options)
    with whole_file(args.out / 'weights' / weights.name) as file:
        file.write(weights.read_bytes())
    parameters = sum(value.numel() for value in select_weights(trained).values())
    note(args.out / 'models.json', name, dict(
        megabytes=round(weights.stat().st_size / 1e6, 2), numbers=parameters, measured=measured,
        minutes_to_train=json.loads((run / 'minutes.json').read_text())))


def measure_weights(config: str, weights: Path, measures: Mapping[str, Measure], run: Path,
            options: Sequence[str]) -> dict[str, float]:
    """Test a file of weights with tools/test.py.

    Returns:
        dict[str, float]: What ``measures`` asks for, in %.
    """
    logs: dict[str, dict[str, float]] = {}
    for setting in dict.fromkeys(measure.setting for measure in measures.values()):
        folder = run / f'test_{setting or config_name(config)}'
        call_tool('test.py', config, str(weights), '--work-dir', str(folder), *options,
                 *(['--setting', setting] if setting else []))
        logs[setting] = json.loads(max(folder.glob('*/*.json')).read_text())  # named by date
    return {name: round(logs[measure.setting].get(measure.key, float('nan')) * measure.times, 1)
            for name, measure in measures.items()}


def call_tool(name: str, *arguments: str) -> None:
    """Run one of our tools in a process of its own, and print the command.

    Raises:
        UserError: If it failed.
    """
    command = [sys.executable, str(tool_path(name)), *arguments]
    print(shlex.join(command), flush=True)
    code = subprocess.call(command, env={**os.environ, **ENV})
    if code:
        raise UserError(f'tools/{name} ended with exit code {code}; it said why above')


def note(path: Path, name: str, result: Mapping[str, object]) -> None:
    """Put a result into a file of JSON, beside those of other names."""
    results = json.loads(path.read_text()) if path.is_file() else {}
    with whole_file(path) as file:
        file.write((json.dumps(dict(sorted({**results, name: result}.items())), indent=2) + '\n').encode())


def write_images(folder: Path, bccd: Path | None) -> None:
    """Write the images of the demo: generated ones, and photos of BCCD that no model was trained on.

    Args:
        folder (Path): Where to.
        bccd (Path | None): The folder of BCCD.

    Raises:
        UserError: If ``bccd`` is None or does not hold the images.
    """
    import numpy as np

    from ..datasets.shapes import CLASSES, draw_image, draw_one_shape
    from ..utils.images import write_image
    source = checked_bccd(bccd) / 'BCCD' / 'JPEGImages'
    photos = [source / f'{name}.jpg' for name in HELD_OUT]
    missing = [str(path) for path in photos if not path.is_file()]
    if missing:
        raise UserError(f"--bccd {bccd}: {', '.join(missing)} does not exist")
    images = {f'shapes_{number}': draw_image(np.random.default_rng(seed), 256)[0]
              for number, seed in enumerate(SHAPES_SEEDS, 1)}
    images.update({f'one_shape/{name}': draw_one_shape(np.random.default_rng(seed), name, 64, (20, 40))[0]
                   for seed, name in enumerate(CLASSES, ONE_SHAPE_SEED)})
    (folder / 'one_shape').mkdir(exist_ok=True)
    for name, image in images.items():
        write_image(folder / f'{name}.jpg', image, quality=90)
    for number, path in enumerate(photos, 1):
        with whole_file(folder / f'blood_cells_{number}.jpg') as file:
            file.write(path.read_bytes())


def checked_bccd(bccd: Path | None) -> Path:
    """The folder of BCCD.

    Raises:
        UserError: If it is not given.
    """
    if bccd is None:
        raise UserError('--bccd DIR is needed for the detector and the images: the folder of the dataset BCCD '
                        '(https://github.com/Shenggan/BCCD_Dataset)')
    return bccd


def write_shapes_and_cells_data(root: Path, bccd: Path | None, sizes: Mapping[str, int]) -> None:
    """Write the data of the detector."""
    from ..datasets.shapes_and_cells import write_shapes_and_cells
    write_shapes_and_cells(root, checked_bccd(bccd), **sizes)


def write_segments_data(root: Path, bccd: Path | None, sizes: Mapping[str, int]) -> None:
    """Write the data of the segmentor."""
    from ..datasets.shapes import write_segments
    write_segments(root, **sizes)


def write_sizes_data(root: Path, bccd: Path | None, sizes: Mapping[str, int]) -> None:
    """Write the data of the classifier."""
    from ..datasets.shapes import write_sizes
    write_sizes(root, **sizes)


MODELS = {
    'demo_faster_rcnn_r2n26': DemoModel('shapes_and_cells', write_shapes_and_cells_data, {
        'box AP50, shapes': Measure('coco/bbox_mAP_50', 100, 'shapes'),
        'box AP50, blood cells': Measure('coco/bbox_mAP_50', 100, 'cells')}),
    'demo_classifier_r2n26': DemoModel('sizes', write_sizes_data, {'top-1 accuracy': Measure('accuracy/top1')},
                                       'train_cfg.max_epochs', start='demo_faster_rcnn_r2n26'),
    'demo_deeplabv3plus_r2n26': DemoModel('segments', write_segments_data, {'mIoU': Measure('mIoU')},
                                          start='demo_faster_rcnn_r2n26'),
}
