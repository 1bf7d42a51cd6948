"""Checks of annotations in COCO's format, and of files of detected boxes."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence

from ...utils.config_types import ancestors
from .lists import read_json
from .problems import SHOWN, BadDataError, Problem, list_defects, report, warn
from .registry import DatasetSettings, annotation_check


@annotation_check('mmdet.CocoDataset', 'mmpose.BaseCocoStyleDataset',
                  read_by=('load_data_list', '_load_annotations', 'parse_data_info'))
def check_coco_dataset(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the file in COCO's format, and the file of detected boxes, of one dataset of mmdet or mmpose."""
    if not settings.has_local_file:
        return
    path = settings.ann_file
    keypoints = 'mmpose.BaseCocoStyleDataset' in ancestors(settings.kind)
    needs = CocoNeeds(settings.labelled, classes=None if keypoints else settings.classes,
                      keypoints=settings.metainfo['num_keypoints'] if keypoints else None)
    try:
        images = check_coco(path, needs)
        if settings.config.get('bbox_file'):
            check_detections(settings.config['bbox_file'], images, path)
    except (AttributeError, KeyError, TypeError) as error:
        yield Problem(f'{path} is not in COCO\'s format: {type(error).__name__}: {error}')


@dataclass(frozen=True)
class CocoNeeds:
    """What a dataset needs of a file in COCO's format.

    Attributes:
        labelled (bool): Whether a file without any annotation is an error.
        classes (Sequence[str] | None): Names of the classes to detect; None: any.
        keypoints (int | None): Number of keypoints of an object; None: the dataset reads no keypoints.
    """

    labelled: bool
    classes: Sequence[str] | None = None
    keypoints: int | None = None


@dataclass(frozen=True)
class CocoIndex:
    """What the annotations of a file in COCO's format may refer to.

    Attributes:
        images (dict[int, dict]): The images by id.
        categories (dict[int, str]): Names of the categories by id.
    """

    images: dict[int, dict]
    categories: dict[int, str]


def check_coco(path: str, needs: CocoNeeds) -> dict[int, dict]:
    """Check a file in COCO's format, as mmdet's CocoDataset and mmpose's datasets of that style read it.

    Args:
        path (str): The file.
        needs (CocoNeeds): What the dataset needs of it.

    Returns:
        dict[int, dict]: The images of the file by id.

    Raises:
        BadDataError: If the file is broken, empty, or contradicts itself or the dataset.
    """
    data = read_json(path)
    index = check_coco_lists(path, data, needs)
    annotations = data.get('annotations', [])
    defects, thin = [], []
    for number, annotation in enumerate(annotations):
        defect = annotation_defect(annotation, index, needs.keypoints)
        if defect:
            defects.append(f'annotation {annotation.get("id", f"number {number}")}: {defect}')
        elif isinstance(annotation.get('segmentation'), list) and any(
                len(polygon) < 6 or len(polygon) % 2 for polygon in annotation['segmentation']):
            thin.append(annotation['id'])
    report(list_defects(f'{path}: {len(defects)} of {len(annotations)} annotations are bad:', defects))
    if thin:
        warn(f'{path}: {len(thin)} annotations have polygons that are not pairs of at least three x, y; mmdet leaves '
             f'these polygons out. The first: {thin[:SHOWN]}')

    if needs.labelled and needs.classes is not None and not any(
            index.categories[annotation['category_id']] in needs.classes for annotation in annotations):
        raise BadDataError(f'{path} has no annotation of the classes {tuple(needs.classes)}')
    if needs.labelled and needs.keypoints is not None and not any(
            any(annotation.get('keypoints', ())) and 'bbox' in annotation for annotation in annotations):
        raise BadDataError(f'{path} has no annotation with both keypoints and a bbox')
    return index.images


def check_coco_lists(path: str, data: Any, needs: CocoNeeds) -> CocoIndex:
    """Check the lists of images and categories of a file in COCO's format.

    Args:
        path (str): The file.
        data (Any): What it holds.
        needs (CocoNeeds): What the dataset needs of it.

    Returns:
        CocoIndex: What its annotations may refer to.

    Raises:
        BadDataError: If a list is not there or empty, an image lacks something, or a class has no category.
    """
    lists = ('images', 'categories', 'annotations') if needs.labelled else ('images', 'categories')
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in lists):
        content = f'the keys {list(data)[:SHOWN]}' if isinstance(data, dict) else f'a {type(data).__name__}'
        raise BadDataError(f"{path} must hold the lists {', '.join(lists)} of COCO's format; it holds {content}")
    for name in lists:
        if not data[name]:
            raise BadDataError(f'{path} has no {name}')

    keys = ('id', 'file_name', 'height', 'width')
    report(list_defects(f'{path}: images that lack one of {keys}:', [
        f'image {image.get("id")}' for image in data['images'] if any(key not in image for key in keys)]))
    index = CocoIndex(images={image['id']: image for image in data['images']},
                      categories={category['id']: category['name'] for category in data['categories']})
    names = list(index.categories.values())
    if needs.classes is not None and not set(needs.classes) <= set(names):
        # mmdet would number the classes that it finds, and so shift the label of every class after a missing one.
        unknown = [name for name in needs.classes if name not in names]
        report(list_defects(
            f'{path}: {len(unknown)} of the {len(needs.classes)} classes of the dataset are not in its categories '
            f'{names[:20]}; name yours with metainfo=dict(classes=(...)). Missing are:', unknown))
    return index


def annotation_defect(annotation: dict, index: CocoIndex, keypoints: int | None) -> str | None:
    """What is wrong with one annotation of a file in COCO's format, or None.

    Args:
        annotation (dict): The annotation.
        index (CocoIndex): What it may refer to.
        keypoints (int | None): Number of keypoints of an object; None: keypoints are not read, but box and area are.
    """
    keys = {'id', 'image_id', 'category_id'} | ({'bbox', 'area'} if keypoints is None else set())
    if not keys <= annotation.keys():
        return f'has no {", ".join(sorted(keys - annotation.keys()))}'
    if annotation['category_id'] not in index.categories:
        ids = sorted(index.categories)
        return (f'category_id {annotation["category_id"]} is none of the {len(ids)} ids of the categories, '
                f'{ids[0]} to {ids[-1]}')
    image = index.images.get(annotation['image_id'])
    if image is None:
        return f'image_id {annotation["image_id"]} is none of the {len(index.images)} images'
    if not is_box(annotation.get('bbox', (0, 0, 0, 0))):
        return f'bbox {annotation["bbox"]} must be four finite numbers x, y, width, height'
    mask = annotation.get('segmentation')
    if isinstance(mask, dict):
        if list(mask.get('size', ())) != [image['height'], image['width']]:
            return (f'mask of size {mask.get("size")}; its image {image["file_name"]} is '
                    f'[{image["height"]}, {image["width"]}] (height, width)')
    elif mask and not (isinstance(mask, list) and all(isinstance(polygon, list) for polygon in mask)):
        return 'segmentation must be a list of polygons, each a list x1, y1, x2, y2, ..., or a run-length mask'
    if keypoints is not None and len(annotation.get('keypoints', 3 * keypoints * [0])) != 3 * keypoints:
        return (f'{len(annotation["keypoints"])} numbers of keypoints; the dataset has {keypoints} keypoints, '
                f'so {3 * keypoints} numbers x, y, visibility')
    return None


def is_box(box: Sequence) -> bool:
    """Whether a box is four finite numbers."""
    return len(box) == 4 and all(isinstance(number, (int, float)) and math.isfinite(number) for number in box)


def check_detections(path: str, images: Mapping[int, dict], annotation_file: str) -> None:
    """Check a file of detected boxes, which mmpose uses instead of the annotated ones.

    Args:
        path (str): The file.
        images (Mapping[int, dict]): The images that the boxes may be of, by id.
        annotation_file (str): The file that these images are from.

    Raises:
        BadDataError: If it holds none, or one that is of no such image or no box.
    """
    boxes = read_json(path)
    if not isinstance(boxes, list) or not boxes:
        raise BadDataError(f'{path} must hold a list of detections')
    report(list_defects(
        f'{path}: detections that are not of the images of {annotation_file}, or lack four numbers of bbox:',
        [f'detection number {number}: {str(box)[:100]}' for number, box in enumerate(boxes)
         if box.get('image_id') not in images or not is_box(box.get('bbox', ()))]))
