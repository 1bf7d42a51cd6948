"""Checks of annotation files: COCO's format, VOC's XML, lists and folders of classes, files of detections."""
from __future__ import annotations

import gc
import json
import math
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

from .errors import SHOWN, BadDataError, refuse_defects, warn

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # what mmpretrain takes from a folder


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        BadDataError: If it is not one.
    """
    gc.disable()  # it would walk a tree of millions of objects again and again while that grows
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise BadDataError(f'{path} is not valid JSON (cut off?): {error}') from error
    finally:
        gc.enable()


def read_names(path: str | Path) -> list[str]:
    """Read a list of images, one a line.

    Raises:
        BadDataError: If it has none, or an empty line.
    """
    names = [line.strip() for line in Path(path).read_text().splitlines()]
    if not any(names):
        raise BadDataError(f'{path} names no images')
    if '' in names:
        raise BadDataError(f'{path}: line {names.index("") + 1} is empty')
    return names


# 1. COCO's format, and files of detections.


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
    refuse_defects(f'{path}: {len(defects)} of {len(annotations)} annotations are bad:', defects)
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
    refuse_defects(f'{path}: images that lack one of {keys}:', [
        f'image {image.get("id")}' for image in data['images'] if any(key not in image for key in keys)])
    index = CocoIndex(images={image['id']: image for image in data['images']},
                      categories={category['id']: category['name'] for category in data['categories']})
    names = list(index.categories.values())
    if needs.classes is not None and not set(needs.classes) <= set(names):
        # mmdet would number the classes that it finds, and so shift the label of every class after a missing one.
        unknown = [name for name in needs.classes if name not in names]
        refuse_defects(
            f'{path}: {len(unknown)} of the {len(needs.classes)} classes of the dataset are not in its categories '
            f'{names[:20]}; name yours with metainfo=dict(classes=(...)). Missing are:', unknown)
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
    refuse_defects(f'{path}: detections that are not of the images of {annotation_file}, or lack four numbers of bbox:',
                   [f'detection number {number}: {str(box)[:100]}' for number, box in enumerate(boxes)
                    if box.get('image_id') not in images or not is_box(box.get('bbox', ()))])


# 2. VOC's format.


def check_xml(path: str, dataset: dict, classes: Sequence[str] | None, labelled: bool) -> None:
    """Check the list of a dataset in VOC's format, and the XML file of every image that it names.

    Args:
        path (str): The list.
        dataset (dict): The config of the dataset.
        classes (Sequence[str] | None): Names of its classes; objects of others are not looked at.
        labelled (bool): Whether a set without any object is an error.

    Raises:
        BadDataError: If a file is missing or broken, or no image has an object of the classes.
    """
    classes = classes or ()
    prefix = (dataset.get('data_prefix') or {}).get('sub_data_root') or ''
    folder = Path(dataset.get('data_root') or '', prefix, dataset.get('ann_subdir', 'Annotations'))
    defects, count = [], 0
    for name in read_names(path):
        xml = folder / f'{name}.xml'
        try:
            root = ElementTree.parse(xml).getroot()
            wanted = [item for item in root.findall('object') if element_text(item, 'name') in classes]
            count += len(wanted)
            numbers = [float(element_text(item, f'bndbox/{side}')) for item in wanted
                       for side in ('xmin', 'ymin', 'xmax', 'ymax')]
            if root.find('size') is not None:
                numbers += [int(element_text(root, f'size/{side}')) for side in ('width', 'height')]
            if not all(map(math.isfinite, numbers)):
                defects.append(f'{xml} has a number that is not finite')
        except FileNotFoundError:
            defects.append(f'{xml} does not exist')
        except (ElementTree.ParseError, OSError) as error:
            defects.append(f'{xml} cannot be read: {error}')
        except ValueError:
            defects.append(f'{xml}: every object needs a name and a bndbox of four numbers, size a width and a height')
    refuse_defects(f'{path}: annotations of {len(defects)} images are bad:', defects)
    if labelled and not count:
        raise BadDataError(f'{path}: no image has an object of the classes {tuple(classes)}')


def element_text(parent: ElementTree.Element, path: str) -> str:
    """The text of an element inside another; '' if it has none.

    Raises:
        ValueError: If there is no such element.
    """
    text = parent.findtext(path)
    if text is None:
        raise ValueError(f'<{parent.tag}> has no {path}')
    return text


# 3. Classification.


def check_labels(path: str, lines: Sequence[str], classes: Sequence[str] | None) -> None:
    """Check the lines ``image label`` of a classification set.

    Args:
        path (str): The file of the lines.
        lines (Sequence[str]): The lines.
        classes (Sequence[str] | None): Names of the classes; None: any label is allowed.

    Raises:
        BadDataError: If a line does not end with a label of the classes.
    """
    defects = []
    for number, line in enumerate(lines, 1):
        label = line.rpartition(' ')[2]
        if not label.isdigit() or classes is not None and int(label) >= len(classes):
            defects.append(f'line {number}: {line}')
    allowed = f'from 0 to {len(classes) - 1}' if classes is not None else 'of 0 or more'
    refuse_defects(f'{path}: lines that do not end with a label {allowed}:', defects)


def check_image_folders(dataset: dict, classes: Sequence[str] | None) -> None:
    """Check a classification set of a folder of images for every class.

    ImageNet's may have a list, which is checked instead.

    Args:
        dataset (dict): The config of the dataset.
        classes (Sequence[str] | None): Names of its classes; None: there are as many as folders.

    Raises:
        BadDataError: If the folders are not there, of another number, or without any image.
    """
    root, split = dataset.get('data_root') or '', dataset.get('split') or ''
    listed = os.path.join(root, 'meta', f'{split}.txt')
    if split and os.path.isfile(listed):
        check_labels(listed, read_names(listed), classes)
        return
    prefix = dataset.get('data_prefix') or split
    folder = os.path.join(root, (prefix.get('img_path') or '') if isinstance(prefix, dict) else prefix)
    if not os.path.isdir(folder):
        raise BadDataError(f'{folder} does not exist')
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not names:
        raise BadDataError(f'{folder} is empty: it must have a folder of images for every class')
    if classes is not None and len(names) != len(classes):
        raise BadDataError(f'{folder} has {len(names)} folders, {", ".join(names[:SHOWN])}, ...; the dataset has '
                           f'{len(classes)} classes, and needs a folder for each')
    if not any(file.lower().endswith(IMAGE_SUFFIXES) for name in names
               for _, _, files in os.walk(os.path.join(folder, name)) for file in files):
        raise BadDataError(f'{folder} has no image ({", ".join(IMAGE_SUFFIXES)}) in any of its {len(names)} folders')
