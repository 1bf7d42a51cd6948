"""``tools/dev/int8_table.py``: files in float32 and in 8 bits, side by side: score, size and time."""
from __future__ import annotations

import io
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..utils.images import read_image
from ..utils.text import markdown_table
from .arguments import debug_argument
from .command import run_command

MODELS = ('demo_classifier_r2n26', 'demo_deeplabv3plus_r2n26', 'demo_faster_rcnn_r2n26')
FORMATS = (('onnx', '.onnx', 'ONNX Runtime'), ('openvino', '.xml', 'OpenVINO'))
HEADS = ('model', 'metric', 'runs in', 'type', 'score', 'KiB', 'ms/image')
INSTRUCTIONS = (('avx2', 'AVX2'), ('avx512f', 'AVX-512'), ('avx512_vnni', 'AVX-512 VNNI'), ('avx_vnni', 'AVX-VNNI'))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        argv (Sequence[str] | None): Its arguments. Defaults to None: those of the process.
    """
    parser = ArgumentParser(description='Export models in float32 and in 8 bits, and compare score, size and time.')
    parser.add_argument('models', nargs='*', default=MODELS, help='names of configs (the models that come with the '
                                                                  'package)')
    parser.add_argument('--weights', metavar='FOLDER', help='where NAME.safetensors is (that of the package)')
    parser.add_argument('--data', metavar='FOLDER', required=True, help='of the data of the models, as '
                                                                        'tools/dev/demo_models.py makes it')
    parser.add_argument('--work-dir', metavar='FOLDER', required=True, help='where the files go')
    parser.add_argument('--images', type=int, default=200, help='how many to test on (%(default)s)')
    parser.add_argument('--samples', type=int, default=100, help='how many to calibrate on (%(default)s)')
    parser.add_argument('--rounds', type=int, default=5, help='how often the time is taken (%(default)s)')
    debug_argument(parser)
    run_command(compare_types, parser.parse_args(argv))


def compare_types(args: Namespace) -> None:
    """Print the table."""
    import torch
    torch.set_num_threads(1)
    Path(args.work_dir).mkdir(parents=True, exist_ok=True)
    rows = [row for model in args.models for row in rows_of_model(args, model)]
    flags = set(Path('/proc/cpuinfo').read_text().split())
    there = [f'{name}{"" if flag in flags else ": no"}' for flag, name in INSTRUCTIONS]
    print(f'One thread, {", ".join(there)}; {time.strftime("%Y-%m-%d")}\n')
    print(markdown_table(HEADS, rows))


def rows_of_model(args: Namespace, model: str) -> list[tuple[str, ...]]:
    """The rows of one model: each format in float32 and in 8 bits."""
    from ..apis.export import export_model
    from ..apis.exported import Exported
    from ..apis.exporting.formats import file_size
    from ..apis.exporting.int8 import choose_images
    from ..apis.exporting.loading import load_to_export
    from ..apis.model_files import find_model
    weights = str(Path(args.weights) / f'{model}.safetensors') if args.weights else None
    loaded = load_to_export(find_model(model, weights))
    folder = Path(args.data) / Path(loaded.cfg.data_root).name
    calibration = [file for file in choose_images(folder, 10**6) if is_training_image(file)][::7][:args.samples]
    dataset = test_dataset(loaded, folder)
    files, exported = [], []
    for to, suffix, _ in FORMATS:
        for name, images in (('float32', []), ('int8', calibration)):
            file = Path(args.work_dir) / f'{model}-{name}{suffix}'
            export_model(loaded, file, to, int8=images)
            files.append(file)
            exported.append(Exported(file, threads=1))
    number = min(args.images, len(dataset))
    scores = [score_of(loaded.task, run, dataset, number) for run in exported]
    times = times_of(exported, dataset, args.rounds)
    metric = dict(classification='top-1', segmentation='mIoU', detection='box AP')[loaded.task]
    kinds = [(runtime, name) for _, _, runtime in FORMATS for name in ('float32', 'int8')]
    return [(model, metric, *kind, f'{100 * score:.1f}', f'{file_size(file) / 1024:.0f}', f'{1000 * seconds:.1f}')
            for kind, file, score, seconds in zip(kinds, files, scores, times)]


def is_training_image(file: Path) -> bool:
    """Whether a file is of a training set, and no mask: there is a folder 'train' or 'train2017' in its path."""
    return bool({'train', 'train2017'} & set(file.parts)) and 'masks' not in file.parts


def test_dataset(loaded: Any, folder: Path) -> Any:
    """The toolbox's test set of a model, with its data in a folder."""
    from mmengine.registry import DATASETS
    settings = loaded.cfg.test_dataloader.dataset.copy()
    settings.update(data_root=str(folder), test_mode=True)
    return DATASETS.build(settings)


def image_of(dataset: Any, index: int) -> np.ndarray:
    """An image of a dataset, (h, w, 3) uint8, B, G, R."""
    return read_image(dataset.get_data_info(index)['img_path'])


def times_of(exported: Sequence[Any], dataset: Any, rounds: int, images: int = 20) -> list[float]:
    """Seconds for an image, from its pixels to the result: the median of rounds, in which the files take turns."""
    pictures = [image_of(dataset, i) for i in range(min(images, len(dataset)))]
    times: list[list[float]] = [[] for _ in exported]
    for _ in range(rounds + 1):  # the first one warms up
        for run, seconds in zip(exported, times):
            start = time.perf_counter()
            for picture in pictures:
                run(picture)
            seconds.append((time.perf_counter() - start) / len(pictures))
    return [float(np.median(seconds[1:])) for seconds in times]


def score_of(task: str, run: Any, dataset: Any, number: int) -> float:
    """Top-1 accuracy, mean IoU, or box AP of COCO, 0 to 1, on the first images of a dataset."""
    found = ((dataset.get_data_info(i), run(image_of(dataset, i))) for i in range(number))
    if task == 'classification':
        return float(np.mean([one.labels[0] == info['gt_label'] for info, one in found]))
    if task == 'segmentation':
        classes = len(dataset.metainfo['classes'])
        counts = np.zeros((classes, classes))
        for info, one in found:
            truth = cv2.imread(info['seg_map_path'], cv2.IMREAD_UNCHANGED)
            known = truth < classes
            counts += np.bincount(truth[known].astype(int) * classes + one.segmentation[known],
                                  minlength=classes**2).reshape(classes, classes)
        return float(np.mean(np.diag(counts) / np.maximum(counts.sum(0) + counts.sum(1) - np.diag(counts), 1)))
    return box_ap(dataset, list(found))


def box_ap(dataset: Any, found: Sequence[tuple[dict, Any]]) -> float:
    """COCO's AP of the boxes of images."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    results = [dict(image_id=info['img_id'], category_id=dataset.cat_ids[label], score=float(score),
                    bbox=[float(value) for value in (*box[:2], *(box[2:] - box[:2]))])
               for info, one in found for label, score, box in zip(one.labels, one.scores, one.boxes)]
    if not results:
        return 0.  # which pycocotools cannot read
    with redirect_stdout(io.StringIO()):
        truth = COCO(dataset.ann_file)
        evaluation = COCOeval(truth, truth.loadRes(results), 'bbox')
        evaluation.params.imgIds = [info['img_id'] for info, _ in found]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])
