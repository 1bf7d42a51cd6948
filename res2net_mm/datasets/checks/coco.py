"""Checks of annotations in COCO's format, as the datasets and metrics of mmdet and mmpose read them."""
from __future__ import annotations

import os
from typing import Iterator

from ...utils.config_types import ancestors
from .coco_boxes import check_left_out, check_scored_boxes, left_out_reason
from .coco_categories import check_categories
from .coco_file import LISTS, CocoFile, must_hold_lists, read_coco
from .coco_keypoints import check_detections, check_image_ids, check_keypoints, check_usable_objects
from .coco_masks import check_object_masks, loads_masks
from .coco_scoring import Scoring, check_evaluated_images, check_scored_keys, scorings
from .image_files import check_file_names, check_filters
from .problems import Problem, list_defects
from .registry import DatasetSettings, annotation_check

READ_BY = ('load_data_list', '_load_annotations', 'parse_data_info')


@annotation_check('mmdet.CocoDataset', 'mmpose.BaseCocoStyleDataset', read_by=READ_BY)
def check_coco_dataset(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the file in COCO's format of one dataset of mmdet or mmpose, and what its metrics read besides."""
    if not settings.has_local_file:
        return
    file = read_coco(settings.ann_file)
    yield from file.problems
    if not file.readable:
        return
    yield from check_file_names(settings, [image['file_name'] for image in file.images.values()])
    if settings.labelled and file.annotations is None:
        yield must_hold_lists(file.path, dict.fromkeys(file.keys), LISTS)
        return
    if settings.labelled and not file.annotations and not any(problem.fatal for problem in file.problems):
        yield Problem(f'{file.path} has no annotations')
    elif 'mmpose.BaseCocoStyleDataset' in ancestors(settings.kind):
        yield from check_poses(settings, file)
    else:
        yield from check_objects(settings, file)
    for scoring in scorings(settings):
        if os.path.isfile(scoring.path):
            yield from check_scored_file(settings, file, scoring)


def check_objects(settings: DatasetSettings, file: CocoFile) -> Iterator[Problem]:
    """Check the boxes and masks of a dataset of mmdet."""
    classes = settings.classes or ()
    yield from check_categories(file, classes, settings.where)
    annotations = file.annotations or []
    lacking = [f'annotation {item["id"]}: has no {", ".join(key for key in ("area", "bbox") if key not in item)}'
               for item in annotations if 'area' not in item or 'bbox' not in item]
    yield from list_defects(f'{file.path}: {len(lacking)} of {len(annotations)} annotations lack what mmdet reads:',
                            lacking)
    wanted = {key for key, name in file.categories if name in classes}
    boxed = [item for item in annotations if 'area' in item and 'bbox' in item]
    objects = [item for item in boxed if item['category_id'] in wanted]
    if objects:
        metrics = list(scorings(settings))
        reasons = [left_out_reason(item, file.images[item['image_id']]) for item in objects]
        if not metrics:  # pycocotools leaves out others, of the file itself
            yield from check_left_out(file, objects, reasons, settings.split)
        if loads_masks(settings) and not any(scoring.masks for scoring in metrics):
            kept = [item for item, reason in zip(objects, reasons) if reason is None and not item.get('ignore')]
            yield from check_object_masks(file, kept, f'the pipeline of {settings.where}', strict=False)
        labelled_images = {item['image_id'] for item in objects}
        yield from check_filters(settings, [
            (min(image['height'], image['width']), key in labelled_images) for key, image in file.images.items()])
    elif boxed and wanted and settings.labelled:
        yield Problem(f'{file.path} has no annotation of the classes {tuple(classes)}')


def check_poses(settings: DatasetSettings, file: CocoFile) -> Iterator[Problem]:
    """Check the keypoints, and the file of detected boxes, of a dataset of mmpose."""
    config = settings.config
    yield from check_image_ids(file)
    problems = list(check_keypoints(file, settings.metainfo['num_keypoints']))
    yield from problems
    boxes = config.get('bbox_file')
    if boxes:
        yield from check_detections(boxes, file, (config.get('filter_cfg') or {}).get('bbox_score_thr', -1))
    elif settings.labelled and not any(problem.fatal for problem in problems + file.problems):
        yield from check_usable_objects(file, config.get('data_mode', 'topdown') == 'topdown')


def check_scored_file(settings: DatasetSettings, file: CocoFile, scoring: Scoring) -> Iterator[Problem]:
    """Check the file that a metric scores with, which may be another one than the dataset reads."""
    poses = 'mmpose.BaseCocoStyleDataset' in ancestors(settings.kind)
    scored = file
    if os.path.realpath(scoring.path) != os.path.realpath(file.path):
        scored = read_coco(scoring.path)
        yield from scored.problems
        if not scored.readable:
            return
        if not settings.config.get('bbox_file'):
            yield from check_evaluated_images(file, scored, settings.where)
        if not poses:
            yield from check_categories(scored, settings.classes or (), settings.where)
    if scored.annotations is None:
        yield must_hold_lists(scored.path, dict.fromkeys(scored.keys), LISTS)
        return
    classes = settings.classes or ()
    wanted = {key for key, name in scored.categories if poses or scoring.all_categories or name in classes}
    objects = [item for item in scored.annotations if item['category_id'] in wanted]
    yield from check_scored_keys(scored, objects, scoring)
    if not poses:
        yield from check_scored_boxes(scored, [item for item in objects if 'bbox' in item and 'area' in item])
    if scoring.masks:
        yield from check_object_masks(scored, objects, scoring.metric, strict=True)
