#!/usr/bin/env python
"""Train, evaluate and draw a small Res2Net Faster R-CNN: what `make demo` runs.

    tools/demo.py                           on shapes that it makes, nothing is downloaded
    tools/demo.py --data path/to/coco       on a folder in COCO 2017's layout
"""
import argparse
import json
import time
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

from res2net_mm.cli.main import fail  # noqa: E402
from res2net_mm.cli.main import test as run_test  # noqa: E402
from res2net_mm.cli.main import train as run_train  # noqa: E402

CONFIG = '''"""Written by tools/demo.py: the demo's config with the classes of one data set."""
_base_ = 'res2net_mm::demo_faster_rcnn_r2n26_shapes.py'

classes = {classes}
metainfo = dict(classes=classes)
model = dict(roi_head=dict(bbox_head=dict(num_classes=len(classes))))
train_dataloader = dict(dataset=dict(metainfo=metainfo))
val_dataloader = dict(dataset=dict(metainfo=metainfo))
test_dataloader = val_dataloader
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help="a folder with train2017, val2017 and annotations/instances_*.json")
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='where results go (work_dirs/demo)')
    parser.add_argument('--iterations', type=int, help='train for so many iterations instead of the 600 of the config')
    args = parser.parse_args()
    started = time.time()

    data = args.data or args.out / 'shapes'
    if args.data is None:
        from res2net_mm.datasets.shapes import write_shapes
        print(f'Making shapes in {data}')
        write_shapes(data)
    annotations = data / 'annotations' / 'instances_train2017.json'
    if not annotations.is_file():
        fail(f'--data {data}: {annotations} does not exist; wanted is the layout of COCO 2017')
    classes = tuple(category['name'] for category in json.loads(annotations.read_text())['categories'])

    args.out.mkdir(parents=True, exist_ok=True)
    config = args.out / 'config.py'
    config.write_text(CONFIG.format(classes=classes))
    run = args.out / 'run'
    options = ['--data-root', str(data), '--work-dir', str(run)]
    if args.iterations:
        options += ['--cfg-options', f'train_cfg.max_iters={args.iterations}',
                    f'train_cfg.val_interval={args.iterations}']
    run_train([str(config), *options])

    checkpoint = (run / 'last_checkpoint').read_text().strip()
    pictures = args.out / 'pictures'
    run_test([str(config), checkpoint, '--show-dir', str(pictures), *options])

    scalars = max(run.glob('*/vis_data/scalars.json'), key=lambda path: len(path.read_text()))
    curve = args.out / 'curve.png'
    best = draw_curve(scalars, curve)
    drawn = sorted(pictures.rglob('*.png')) + sorted(pictures.rglob('*.jpg'))
    sheet = args.out / 'detections.png'
    draw_sheet(drawn[:6], sheet)
    print(f'\nDone in {(time.time() - started) / 60:.1f} minutes. Box AP50 on held-out images: {best:.3f}\n'
          f'  detections (left: truth, right: found)  {sheet}, all of them in {drawn[0].parent}\n'
          f'  loss and AP curve                       {curve}\n'
          f'  checkpoint                              {checkpoint}\n'
          f'  log, scalars, full config               {scalars.parent.parent}')


def draw_curve(scalars, path):
    """Draw loss and AP over iterations from mmengine's log; return the last AP50."""
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


def draw_sheet(pictures, path):
    figure, axes = plt.subplots(3, 2, figsize=(12, 9.5), layout='constrained')
    for axis in axes.flat:
        axis.axis('off')
    for axis, picture in zip(axes.flat, pictures):
        axis.imshow(plt.imread(picture))
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == '__main__':
    main()
