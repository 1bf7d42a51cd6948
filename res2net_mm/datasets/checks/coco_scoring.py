"""What the metrics of a config read from a file in COCO's format, and whether it is there."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable, Iterator

from mmengine.registry import METRICS

from ...utils.config_types import ancestors, config_class
from .coco_file import CocoFile
from .problems import Problem, list_defects
from .registry import DatasetSettings, inherits


@dataclass(frozen=True)
class Scoring:
    """How one metric of a config uses a file in COCO's format.

    Attributes:
        path (str): The file.
        metric (str): What the metric is called in messages.
        keys (tuple[str, ...]): What it reads of an annotation; the others it can do without.
        all_categories (bool): Whether it reads the annotations of other categories than the dataset's classes, too.
    """

    path: str
    metric: str
    keys: tuple[str, ...]
    all_categories: bool

    @property
    def masks(self) -> bool:
        """Whether it scores masks."""
        return 'segmentation' in self.keys


def scorings(settings: DatasetSettings) -> Iterator[Scoring]:
    """The uses that the metrics of a dataset's split make of files in COCO's format."""
    for evaluator in settings.evaluators:
        if evaluator.get('format_only'):
            continue
        kind = config_class(evaluator, METRICS, settings.scope)
        bases = ancestors(kind)
        own_file = evaluator.get('ann_file')
        if inherits(kind, bases.get('mmdet.CocoMetric'), 'compute_metrics') and own_file:
            # Without a file of its own, mmdet's metric scores what the dataset has loaded.
            metrics = evaluator.get('metric', 'bbox')
            metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
            keys = ('iscrowd', 'segmentation') if 'segm' in metrics else ('iscrowd', )
            yield Scoring(own_file, f'CocoMetric(metric={metrics})', keys, 'proposal_fast' in metrics)
        elif inherits(kind, bases.get('mmpose.CocoMetric'), 'compute_metrics', '_do_python_keypoint_eval') and not (
                evaluator.get('gt_converter')):
            also = dict(area=evaluator.get('use_area', True),
                        num_keypoints=evaluator.get('iou_type') == 'keypoints_crowd')
            yield Scoring(own_file or settings.ann_file, 'CocoMetric', (
                'bbox', 'iscrowd', 'keypoints', *(key for key, read in also.items() if read)), all_categories=True)


def check_scored_keys(file: CocoFile, annotations: Iterable[dict], scoring: Scoring) -> Iterator[Problem]:
    """Check that annotations have what a metric reads after the whole set has been run through the model."""
    wanted = [key for key in scoring.keys if key != 'segmentation']
    defects, texts, count = [], [], 0
    for annotation in annotations:
        count += 1
        missing = [key for key in wanted if annotation.get(key) is None]
        if missing:
            defects.append(f'annotation {annotation["id"]} has no {", ".join(missing)}')
        if isinstance(annotation['id'], str) and not annotation['id'].isdigit():
            texts.append(f'id {annotation["id"]!r}')
    hint = '; write "iscrowd": 0 where an object is no crowd' if 'iscrowd' in wanted else ''
    yield from list_defects(f'{file.path}: {len(defects)} of {count} annotations lack what {scoring.metric} reads '
                            f'at the end of an evaluation{hint}:', defects)
    yield from list_defects(f'{file.path}: pycocotools needs numbers as ids of annotations:', texts)


def check_evaluated_images(file: CocoFile, scored: CocoFile, key: str) -> Iterator[Problem]:
    """Check that a metric scores the images of the dataset.

    Args:
        file (CocoFile): The file of the dataset.
        scored (CocoFile): The file of the metric, another one.
        key (str): The config key of the dataset.
    """
    other = [f'image {key} ({image["file_name"]})' for key, image in file.images.items()
             if key not in scored.images or os.path.basename(scored.images[key]['file_name']) != os.path.basename(
                 image['file_name'])]
    yield from list_defects(f'{scored.path}, which the metric reads, does not have {len(other)} of the '
                            f'{len(file.images)} images of {file.path}, which {key} reads; name one file in both:',
                            other)
    more = len(scored.images.keys() - file.images.keys())
    if more and not other:
        yield Problem(f'{scored.path}, which the metric reads, has {more} images that are not in {file.path}, which '
                      f'{key} reads; their objects count as missed', fatal=False)
