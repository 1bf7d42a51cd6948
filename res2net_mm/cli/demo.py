"""``make demo``: train a small Res2Net Faster R-CNN, evaluate it, and draw what it detects.

    tools/dev/demo.py                           on shapes that it makes, nothing is downloaded
    tools/dev/demo.py --data path/to/coco       on a folder in COCO 2017's layout
"""
from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from ..datasets.shapes import write_shapes
from ..utils.errors import UserError
from .command import run_command
from .test import main as run_test
from .train import main as run_training

CONFIG = '''"""Written by tools/dev/demo.py: the demo's config with the classes of one dataset."""
_base_ = 'res2net_mm::demo_faster_rcnn_r2n26_shapes.py'

classes = {classes}
metainfo = dict(classes=classes)
model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))
train_dataloader = dict(dataset=dict(metainfo=metainfo))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = val_dataloader
'''


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='a folder with train2017, val2017 and annotations/instances_*.json')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where results go (work_dirs/demo)')
    parser.add_argument('--iterations', type=int, help='train for so many iterations instead of the 600 of the config')
    run_command(run_demo, parser.parse_args(argv))


def run_demo(args: Namespace) -> None:
    """Train, evaluate and draw as the arguments say.

    Raises:
        UserError: If ``--data`` is no folder in COCO 2017's layout.
    """
    started = time.time()
    data = args.data or args.out / 'shapes'
    if args.data is None:
        print(f'Making shapes in {data}')
        write_shapes(data)
    classes = class_names(data)
    args.out.mkdir(parents=True, exist_ok=True)
    config = args.out / 'config.py'
    config.write_text(CONFIG.format(classes=classes))
    run = args.out / 'run'
    options = ['--data-root', str(data), '--work-dir', str(run)]
    if args.iterations:
        options += ['--cfg-options', f'train_cfg.max_iters={args.iterations}',
                    f'train_cfg.val_interval={args.iterations}']
    run_training([str(config), *options])

    checkpoint = (run / 'last_checkpoint').read_text().strip()
    images = args.out / 'images'
    run_test([str(config), checkpoint, '--show-dir', str(images), *options])

    scalars = max(run.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_size)
    curve = args.out / 'curve.png'
    ap50 = draw_training(scalars, curve)
    drawn = sorted(images.rglob('*.png')) + sorted(images.rglob('*.jpg'))
    overview = args.out / 'detections.png'
    draw_overview(drawn[:6], overview)
    print(f'\nDone in {(time.time() - started) / 60:.1f} minutes. Box AP50 on held-out images: {ap50:.3f}\n'
          f'  detections (left: truth, right: found)  {overview}, all of them in {drawn[0].parent}\n'
          f'  loss and AP curve                       {curve}\n'
          f'  checkpoint                              {checkpoint}\n'
          f'  log, scalars, full config               {scalars.parent.parent}')


def class_names(data: Path) -> tuple[str, ...]:
    """The classes of a folder in COCO 2017's layout.

    Raises:
        UserError: If the folder has no annotations of training images.
    """
    annotations = data / 'annotations' / 'instances_train2017.json'
    if not annotations.is_file():
        raise UserError(f'--data {data}: {annotations} does not exist; wanted is the layout of COCO 2017')
    return tuple(category['name'] for category in json.loads(annotations.read_text())['categories'])


def draw_training(scalars: Path, path: Path) -> float:
    """Draw loss and AP over iterations.

    Args:
        scalars (Path): mmengine's log, one JSON object a line.
        path (Path): The image to write.

    Returns:
        float: The last AP50, from 0 to 1.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    training = [(row['step'], row['loss']) for row in rows if 'loss' in row]
    figure, left = plt.subplots(figsize=(7, 4), layout='constrained')
    left.plot(*zip(*training), color='tab:gray', label='training loss')
    left.set(xlabel='iteration', ylabel='loss', ylim=(0, None))
    right = left.twinx()
    for key, label in (('coco/bbox_mAP', 'box AP'), ('coco/bbox_mAP_50', 'box AP50')):
        measured = [(row['step'], row[key]) for row in rows if key in row]
        right.plot(*zip(*measured), 'o-', label=label)
    right.set(ylabel='AP on held-out images', ylim=(0, 1))
    figure.legend(loc='outside upper center', ncols=3, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return measured[-1][1]


def draw_overview(images: Sequence[Path], path: Path) -> None:
    """Put up to six images on one, three rows of two.

    Args:
        images (Sequence[Path]): Their files.
        path (Path): The image to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(3, 2, figsize=(12, 9.5), layout='constrained')
    for axis in axes.flat:
        axis.axis('off')
    for axis, image in zip(axes.flat, images):
        axis.imshow(plt.imread(image))
    figure.savefig(path, dpi=100)
    plt.close(figure)
