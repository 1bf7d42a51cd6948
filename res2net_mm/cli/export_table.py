"""``tools/dev/export_table.py``: write docs/export.md: what can be exported, how exact, how fast.

Every row is kept in a JSON file as soon as it is measured: a run that is interrupted goes on.
"""
from __future__ import annotations

import json
import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..utils.config import find_config, load_config
from ..utils.errors import UserError
from ..utils.images import find_images, read_image
from ..utils.text import markdown_table
from ..utils.whole_file import whole_file
from .command import run_command
from .device import choose_device

if TYPE_CHECKING:
    import numpy as np

    from ..apis.exporting.checks import ExportCheck
    from ..apis.exporting.loading import ModelToExport

MODELS = ('imagenet_r2n50_26w4s', 'imagenet_r2n50_v1b', 'imagenet_r2nx50_8c4w4s', 'imagenet_se_r2n50',
          'imagenet_dla60_r2n', 'imagenet_bl_r2n50', 'imagenet_r2n50_vd', 'cifar100_r2nx29_6c24w4s',
          'deeplabv3plus_r2n50_voc12aug', 'deeplabv3plus_os8_r2n50_26w4s_voc12aug', 'upernet_r2n50_ade20k',
          'dss_r2n50_msrab', 'simplebaseline_r2n50_coco', 'faster_rcnn_r2n50_coco', 'mask_rcnn_r2n50_coco',
          'cascade_rcnn_r2n101_v1b_coco')
VARIANTS = {  # rows that are another config with a change of its backbone
    'imagenet_r2n50_vd': ('imagenet_r2n50_v1b', dict(stage_pool='strided_hierarchical'))}
TARGETS = ('onnx', 'openvino', 'torchscript', 'pt2')
SMALL_IMAGES = {'cifar100_r2nx29_6c24w4s': (32, 32)}  # rows whose pipeline resizes no image: width and height
ROUNDS = 5
MARKERS = ('<!-- begin of the table -->', '<!-- end of the table -->')


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description='Export every kind of model with random weights, and write docs/export.md.')
    parser.add_argument('models', nargs='*', metavar='NAME', help='the rows to measure (all)')
    parser.add_argument('--images', metavar='DIR', default=os.environ.get('RES2NET_MM_COCO', ''),
                        help='a folder of photos, or of COCO (the environment variable RES2NET_MM_COCO)')
    parser.add_argument('--untimed', action='store_true', help='say what works and how exactly, and measure no times')
    parser.add_argument('--rows', metavar='FILE', type=Path, default=Path('work_dirs/export_table.json'),
                        help='where rows are kept; those in it are not measured again (%(default)s)')
    parser.add_argument('--page', metavar='FILE', type=Path, default=Path('docs/export.md'), help='(%(default)s)')
    run_command(write_export_page, parser.parse_args(argv))


def write_export_page(args: Namespace) -> None:
    """Measure the rows that are missing, and write the table between the markers of the page.

    Raises:
        UserError: If there are no images, or no such row, or the page has no markers.
    """
    unknown = [name for name in args.models if name not in MODELS]
    if unknown:
        raise UserError(f'NAME {unknown[0]}: must be one of {", ".join(MODELS)}')
    folder = next((path for path in (Path(args.images) / 'val2017', Path(args.images)) if path.is_dir()), None)
    if not args.images or folder is None:
        raise UserError('--images DIR: name a folder of photos')
    page = args.page.read_text()
    if not all(marker in page for marker in MARKERS):
        raise UserError(f'{args.page} has no {" and ".join(MARKERS)}')
    choose_device('cpu')
    images = [read_image(file) for file in find_images([folder])[:2]]
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = json.loads(args.rows.read_text()) if args.rows.is_file() else {}
    for name in args.models or MODELS:
        if name not in rows:
            print(name, flush=True)
            rows[name] = measure_row(name, images, timed=not args.untimed)
            with whole_file(args.rows) as file:
                file.write(json.dumps(rows, indent=1).encode())
    before, after = page.split(MARKERS[0])[0], page.split(MARKERS[1])[1]
    table = export_table([rows[name] for name in MODELS if name in rows])
    with whole_file(args.page) as file:
        file.write(f'{before}{MARKERS[0]}\n\n{table}\n\n{MARKERS[1]}{after}'.encode())
    print(f'written: {args.page}')


def export_table(rows: Sequence[dict]) -> str:
    """The rows as a Markdown table, and what they were measured with, a line each where that differs."""
    lines = [(f'`{row["name"]}`', row['task'], target, found.get('works', ''), found.get('error', ''),
              found.get('size', ''), *(f'{found[key]:.0f}' if key in found else '' for key in ('ms', 'eager', 'best')),
              found.get('backend', '')) for row in rows for target, found in row['targets'].items()]
    heads = ('model', 'task', 'target', 'works', 'largest error', 'MiB', 'ms', 'eager, ms', 'accelerate, ms', 'by')
    settings = dict.fromkeys(f'{row["measured"]}.' for row in rows)
    return '\n\n'.join((markdown_table(heads, lines), *settings))


def measure_row(name: str, images: Sequence[np.ndarray], timed: bool = True) -> dict[str, Any]:
    """Export a model to every target, compare, and time all of them beside PyTorch in one interleaved run."""
    import cv2
    import torch

    from ..apis.exported import OPENERS
    from ..apis.exporting.checks import toolbox_batch
    from ..apis.exporting.formats import SUFFIXES, file_size
    from ..apis.preparation import prepare_image
    from ..benchmark.timing import MEASURED, MeasuringSettings, time_rounds
    if name in SMALL_IMAGES:
        images = [cv2.resize(image, SMALL_IMAGES[name], interpolation=cv2.INTER_AREA) for image in images]
    loaded = random_model_of(name, images)
    targets: dict[str, dict] = {}
    runs: dict[str, Any] = eager_runs(loaded, toolbox_batch(loaded, images[0])) if timed else {}
    with tempfile.TemporaryDirectory() as folder:
        for target in TARGETS:
            file = Path(folder) / f'model{SUFFIXES[target]}'
            try:
                check, yes = export_for_row(loaded, file, target, images)
            except UserError as error:
                targets[target] = dict(works='no: ' + str(error).partition(': ')[2])
                continue
            targets[target] = dict(works=yes if check.holds else 'differs', size=f'{file_size(file) / 2**20:.0f}',
                                   error=f'{max(check.errors.values()):.0e}' if check.errors else '')
            if not timed:
                continue
            run, spec = OPENERS[file.suffix](file, torch.get_num_threads())
            array = prepare_image(images[0], json.loads(spec)['preprocess']).array[None]
            runs[target] = partial(run, array)
        seconds = dict(zip(runs, time_rounds(list(runs.values()), ROUNDS) if timed else ()))
    ms = {key: median(values) * 1000 for key, values in seconds.items()}
    backend = min((key for key in ms if key.startswith('accelerate')), key=ms.__getitem__, default='')
    for target in targets:
        if target in ms:
            targets[target].update(ms=ms[target], eager=ms['eager'])
            if backend:
                targets[target].update(best=ms[backend], backend=backend.partition(' ')[2])
    provenance = MeasuringSettings(torch.device('cpu'), rounds=ROUNDS).describe()
    measured = MEASURED.format(**provenance) if timed else f'PyTorch {torch.__version__}'
    return dict(name=name, task=loaded.task, targets=targets, measured=measured)


def export_for_row(loaded: ModelToExport, file: Path, target: str,
                   images: Sequence[np.ndarray]) -> tuple[ExportCheck, str]:
    """Export a model for images of any size, or else of one, and compare; returns how that went, and for which."""
    from ..apis.export import export_model
    from ..apis.exporting.checks import toolbox_batch
    try:
        return export_model(loaded, file, target, check=images), 'yes'
    except UserError as error:
        if '--input-size' not in str(error):
            raise
    height, width = toolbox_batch(loaded, images[0])['inputs'].shape[2:]
    return export_model(loaded, file, target, (height, width), check=images), 'at one size'


def eager_runs(loaded: ModelToExport, batch: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's own model, and its accelerated copies, as functions of a batch."""
    from ..acceleration.backends import accelerate
    from ..apis.exporting.graphs import build_graph
    models = {'eager': loaded.model}
    for backend in ('auto', 'onnxruntime', 'openvino'):
        try:
            models[f'accelerate {backend}'] = accelerate(loaded.model, backend)
        except (ValueError, ModuleNotFoundError, RuntimeError) as error:
            print(f'  accelerate {backend}: {str(error).splitlines()[0]}', flush=True)
    runs: dict[str, Any] = {}
    for name, model in models.items():
        if loaded.task == 'detection':
            runs[name] = partial(model.predict, batch['inputs'], batch['data_samples'])
        else:
            runs[name] = partial(build_graph(model, loaded.task), batch['inputs'])
    return runs


def random_model_of(name: str, images: Sequence[np.ndarray]) -> ModelToExport:
    """The model of a row with random weights, and batch norms that have seen the images."""
    import torch
    from mmengine.logging import MMLogger
    from torch import nn

    from ..apis.exporting.checks import toolbox_batch
    from ..apis.exporting.loading import build_model, describe_model
    MMLogger.get_current_instance().setLevel('WARNING')  # or it says of every weight how it is drawn
    config, change = VARIANTS.get(name, (name, {}))
    cfg = load_config(find_config(f'{config}.py'))
    cfg.model.backbone.update(change, init_cfg=None)
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    loaded = describe_model(name, cfg, model, {})
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the average of all images
    with torch.no_grad():
        for image in images:
            inputs = toolbox_batch(loaded, image)['inputs']
            model.extract_feat(torch.cat([inputs, inputs.flip(3)]))
    model.eval()
    return loaded
