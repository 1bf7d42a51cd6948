"""What ``cam.py`` does: where classifiers, detectors and segmentors look, side by side and as numbers.

Source: paper section 4.5 and Fig. 4, which compare ResNet-50 and Res2Net-50 by eye. ``explain.py`` makes the maps,
``coverage.py`` measures them.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from ...cli.arguments import device_argument, models_arguments
from ...cli.command import run_tool
from ...utils.images import find_images
from ...utils.text import number_duplicates
from .coverage import draw_coverage, measure_photo, print_coverage, read_boxes, summarise
from .explain import Subject

ROWS = 8  # photos on a sheet


def main(argv=None):
    """Draw and measure maps: the command ``tools/visualization/cam.py``."""
    parser = argparse.ArgumentParser(description='Show where a classifier, detector or segmentor looks (Grad-CAM).')
    models_arguments(parser, 'checkpoint of the whole model; for a classifier also ImageNet weights')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='photos, or folders of them')
    parser.add_argument('--class', dest='label', metavar='NAME_OR_INDEX',
                        help='the class to explain (what each model sees most clearly)')
    parser.add_argument('--target-layer', metavar='NAME',
                        help="the layer whose output is weighted (the last block of the backbone's last stage)")
    parser.add_argument('--method', metavar='NAME',
                        help='a method of the package grad-cam (GradCAM for classifiers, HiResCAM for the others)')
    parser.add_argument('--boxes', metavar='FILE',
                        help='COCO-style annotations of the photos: also measure how the maps cover their objects')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cam'), metavar='DIR',
                        help='where results go (work_dirs/cam)')
    device_argument(parser)
    run_tool(run, parser.parse_args(argv))


def run(args, device):
    photos = find_images(args.images)
    boxes = read_boxes(args.boxes, photos) if args.boxes else {}
    pairs = [(args.config, args.checkpoint), *args.compare]
    subjects = [Subject(*pair, args.target_layer, args.method, device) for pair in pairs]
    names = number_duplicates([subject.name for subject in subjects])
    models = {}
    for subject, name, (config, checkpoint) in zip(subjects, names, pairs):
        subject.name = name
        models[name] = dict(config=config, checkpoint=checkpoint, layer=subject.layer_name,
                            method=subject.method.__name__)
    labels = [args.label and subject.label(args.label) for subject in subjects]
    known = set.intersection(*(set(subject.classes) for subject in subjects))
    categories = {box.category for objects in boxes.values() for box in objects}
    if boxes and not categories & known:
        raise ValueError(f"--boxes: the classes of '{args.boxes}' ({', '.join(sorted(categories)[:5])}, ...) are not "
                         f"those of the models ({', '.join(sorted(known)[:5])}, ...)")

    args.out.mkdir(parents=True, exist_ok=True)
    written, rows, records, measured = [], [], [], []
    for i, photo in enumerate(photos):
        row = []
        for subject, label in zip(subjects, labels):
            seen = subject.see(photo)
            heat, answer = subject.explain(seen, label)
            if answer is None:
                row.append((seen.picture, None, 'found nothing', None))
                continue
            row.append((seen.picture, heat, f'{subject.class_name(answer.label)} {answer.score:.2f}',
                        answer.outline if answer.outline is None else answer.outline[:heat.shape[0], :heat.shape[1]]))
            records.append(dict(photo=str(photo), model=subject.name, label=answer.label,
                                class_name=subject.class_name(answer.label), score=answer.score))
        rows.append(row)
        if len(rows) == ROWS or i + 1 == len(photos):
            written.append(args.out / f'cam_{i // ROWS + 1:03d}.png')
            draw_sheet(rows, names, written[-1])
            rows = []
        measured += measure_photo(subjects, photo, [box for box in boxes.get(photo, []) if box.category in known])
    results = dict(models=models, maps=records)
    if boxes:
        summary = summarise(measured, names)
        results['coverage'] = dict(summary=summary, objects=measured)
        print_coverage(summary)
        if summary['all']['objects']:
            written.append(args.out / 'coverage.png')
            draw_coverage(measured, summary, names, written[-1])
    written.append(args.out / 'cam.json')
    written[-1].write_text(json.dumps(results, indent=1))
    print('written:', *written, sep='\n  ')


def draw_sheet(rows, names, path):
    """Draw photos and maps side by side, as the paper's Fig. 4.

    Args:
        rows (list): For every photo a list of (picture, map, caption, outline) for every model; map and outline may be
            None.
        names (list[str]): Of the models.
        path (Path): The file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from pytorch_grad_cam.utils.image import show_cam_on_image

    width = 3
    heights = [width * max(cell[0].shape[0] / cell[0].shape[1] for cell in row) + 0.3 for row in rows]
    figure, axes = plt.subplots(len(rows), len(names) + 1, squeeze=False, layout='constrained',
                                figsize=(width * (len(names) + 1), sum(heights) + 0.3), height_ratios=heights)
    for axis in axes.flat:
        axis.axis('off')
    for line, row in zip(axes, rows):
        line[0].imshow(row[0][0][..., ::-1])
        for axis, (picture, heat, caption, outline) in zip(line[1:], row):
            picture = picture[..., ::-1].astype(np.float32) / 255
            axis.imshow(picture if heat is None else show_cam_on_image(picture, heat, use_rgb=True))
            if outline is not None:
                axis.contour(outline, levels=[0.5], colors='white', linewidths=1)
            axis.set_title(caption, fontsize=8)
    for axis, name in zip(axes[0], ['photo', *names]):
        axis.set_title('\n'.join(filter(None, [name, axis.get_title()])), fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
