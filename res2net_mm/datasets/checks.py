"""Bad data: found before the run if the score depends on it, skipped with a warning while training.

Three steps, all called by ``tools/train.py``, the first two by ``tools/test.py``:

1. ``check_data`` reads the config and the annotation files, before anything is built.
2. ``check_photos`` looks at every photo and mask of a validation or test set, before the first iteration.
3. ``skip_bad_samples`` puts ``SkipBadSample`` around the loading transforms of the training pipelines. Good samples
   pass through it unchanged, and it draws no random numbers: a run on good data is the same with and without it.
"""
import copy
import gc
import json
import logging
import math
import os
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from ..utils.images import file_defect, image_shape

# mmengine's loggers, datasets and processes are imported where they are used: they import torch, and the command line
# imports this module before it has chosen a device.

SHOWN = 5  # of the defects of one kind; the others are counted
IMAGES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')  # what mmpretrain takes from a folder


class BadDataError(RuntimeError):
    """Data that cannot be trained or tested on; the message names the file and what is wrong with it."""


def refuse(title, defects):
    if defects:
        more = [f'... and {len(defects) - SHOWN} more'] if len(defects) > SHOWN else []
        raise BadDataError('\n  '.join([title, *defects[:SHOWN], *more]))


# 1. Before anything is built: what the config names exists, and the annotation files hold what their dataset needs.


def check_data(cfg, splits):
    """Check the folders and annotation files that a config of any toolbox names.

    Args:
        cfg (mmengine.Config): The config.
        splits (Sequence[str]): Of 'train', 'val' and 'test', those that the run will use.

    Raises:
        BadDataError: If a folder or file does not exist, or an annotation file is broken, empty or contradicts itself
            or the dataset that reads it.
    """
    missing = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            missing += [f'{split}_dataloader: {path}' for path in dataset_paths(loader.dataset) if absent(path)]
        missing += [f'{split}_evaluator: {evaluator.ann_file}' for evaluator in evaluators(cfg, split)
                    if absent(evaluator.get('ann_file'))]
    if missing:
        raise BadDataError('data that the config names does not exist; give its folder with --data-root DIR, or put it '
                           'there:\n  ' + '\n  '.join(dict.fromkeys(missing)))

    for split in splits:
        scored = not any(evaluator.get('format_only') for evaluator in evaluators(cfg, split))
        for dataset in leaves((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
            filters = split == 'train' and dataset.get('filter_cfg') or {}
            check_annotations(dataset, cfg.get('default_scope'), scored and filters.get('filter_empty_gt', True))


def evaluators(cfg, split):
    found = cfg.get(f'{split}_evaluator') or []
    return [found] if isinstance(found, dict) else found


def leaves(dataset):
    """The datasets, or their configs, inside of wrappers such as RepeatDataset and ConcatDataset."""
    if dataset is None:
        return []
    get = dataset.get if isinstance(dataset, dict) else lambda name: getattr(dataset, name, None)
    inner = get('datasets') or [get('dataset')]
    return [dataset] if inner == [None] else [leaf for item in inner for leaf in leaves(item)]


def dataset_paths(dataset):
    """The folders and files that a dataset config names: the root alone if that is missing already."""
    if 'dataset' in dataset or 'datasets' in dataset:
        return [path for leaf in leaves(dataset) for path in dataset_paths(leaf)]
    root = dataset.get('data_root') or ''
    if root and absent(root):
        return [root]
    prefix = dataset.get('data_prefix') or {}
    parts = [dataset.get('ann_file'), *(prefix.values() if isinstance(prefix, dict) else [prefix])]
    paths = [os.path.join(root, part) for part in parts if isinstance(part, str) and part]
    return [*paths, dataset['bbox_file']] if dataset.get('bbox_file') else paths  # mmpose joins no root to this one


def absent(path):
    """Whether a path is a local one that does not exist (``s3://...`` and the like are left to mmengine)."""
    return bool(path) and ':' not in str(path) and not os.path.exists(path)


def check_annotations(dataset, scope, labelled):
    """Check the annotations that one dataset config names: what is checked depends on who reads them.

    Args:
        dataset (dict): The config, of no wrapper.
        scope (str): The toolbox that its type is looked up in.
        labelled (bool): Whether a set without any annotation is an error.
    """
    path = dataset.get('ann_file')
    path = path and os.path.join(dataset.get('data_root') or '', path)
    local_file = bool(path) and os.path.isfile(path)
    if local_file and not os.path.getsize(path):
        raise BadDataError(f'{path} is empty')
    kind = dataset_class(dataset, scope)
    ancestors = {base.__name__: base for base in kind.__mro__}
    coco = ancestors.get('CocoDataset' if 'BaseDetDataset' in ancestors else 'BaseCocoStyleDataset')
    readers = ('load_data_list', '_load_annotations', 'parse_data_info')

    if local_file and coco and all(getattr(kind, name, None) is getattr(coco, name, None) for name in readers):
        pose = coco.__name__ == 'BaseCocoStyleDataset'
        metainfo = kind._load_metainfo(copy.deepcopy(dataset.get('metainfo')))
        try:
            images = check_coco(path, labelled, None if pose else metainfo['classes'],
                                metainfo['num_keypoints'] if pose else None)
            if dataset.get('bbox_file'):
                check_detections(dataset['bbox_file'], images, path)
        except (AttributeError, KeyError, TypeError) as error:
            raise BadDataError(f'{path} is not in COCO\'s format: {type(error).__name__}: {error}') from error
    elif local_file and path.endswith('.json'):
        read_json(path)
    elif local_file and 'XMLDataset' in ancestors:
        check_xml(path, dataset, kind, labelled)
    elif local_file and {'BaseSegDataset', 'XMLDataset', 'CustomDataset'} & ancestors.keys():
        names = read_names(path)
        if 'CustomDataset' in ancestors and dataset.get('with_label', True):
            check_labels(path, names, kind._load_metainfo(copy.deepcopy(dataset.get('metainfo'))).get('classes'))
    elif not path and kind.__name__ in ('CustomDataset', 'ImageNet') and dataset.get('with_label', True):
        check_image_folders(dataset, kind)
    elif 'BaseSegDataset' in ancestors:
        folder = os.path.join(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('img_path') or '')
        if os.path.isdir(folder) and not os.listdir(folder):
            raise BadDataError(f'{folder} has no photos')


def dataset_class(dataset, scope):
    """The class that a dataset config names; ``object`` if it names none that is known (the Runner will say so)."""
    kind = dataset.get('type')
    if not isinstance(kind, str):
        return kind or object
    with DATASETS.switch_scope_and_registry(dataset.get('_scope_') or scope) as registry:
        return registry.get(kind) or object


def read_json(path):
    gc.disable()  # it would walk a tree of millions of objects again and again while that grows
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise BadDataError(f'{path} is not valid JSON (cut off?): {error}') from error
    finally:
        gc.enable()


def read_names(path):
    names = [line.strip() for line in Path(path).read_text().splitlines()]
    if not any(names):
        raise BadDataError(f'{path} names no photos')
    if '' in names:
        raise BadDataError(f'{path}: line {names.index("") + 1} is empty')
    return names


def check_coco(path, labelled, classes, keypoints):
    """Check a file in COCO's format, as mmdet's CocoDataset and mmpose's datasets of that style read it.

    Args:
        path (str): The file.
        labelled (bool): Whether a file without any annotation is an error.
        classes (Sequence[str] | None): Names of the classes to detect; None: any.
        keypoints (int | None): Number of keypoints of an object; None: the dataset reads no keypoints.

    Returns:
        dict[int, dict]: The images of the file by id.
    """
    data = read_json(path)
    lists = ('images', 'categories', 'annotations') if labelled else ('images', 'categories')
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in lists):
        found = f'the keys {list(data)[:SHOWN]}' if isinstance(data, dict) else f'a {type(data).__name__}'
        raise BadDataError(f"{path} must hold the lists {', '.join(lists)} of COCO's format; it holds {found}")
    annotations = data.get('annotations', [])
    for name in lists:
        if not data[name]:
            raise BadDataError(f'{path} has no {name}')

    needed = ('id', 'file_name', 'height', 'width')
    refuse(f'{path}: images that lack one of {needed}:', [
        f'image {image.get("id")}' for image in data['images'] if any(name not in image for name in needed)])
    images = {image['id']: image for image in data['images']}
    names = {category['id']: category['name'] for category in data['categories']}
    if classes is not None and not set(classes) <= set(names.values()):
        # mmdet would number the classes that it finds, and so shift the label of every class after a missing one.
        unknown = [name for name in classes if name not in names.values()]
        refuse(f'{path}: {len(unknown)} of the {len(classes)} classes of the dataset are not in its categories '
               f'{list(names.values())[:20]}; name yours with metainfo=dict(classes=(...)). Missing are:', unknown)

    needed = {'id', 'image_id', 'category_id'} | ({'bbox', 'area'} if keypoints is None else set())
    defects, thin = [], []
    for index, annotation in enumerate(annotations):
        defect = annotation_defect(annotation, needed, images, names, keypoints)
        if defect:
            defects.append(f'annotation {annotation.get("id", f"number {index}")}: {defect}')
        elif isinstance(annotation.get('segmentation'), list) and any(
                len(polygon) < 6 or len(polygon) % 2 for polygon in annotation['segmentation']):
            thin.append(annotation['id'])
    refuse(f'{path}: {len(defects)} of {len(annotations)} annotations are bad:', defects)
    if thin:
        warn(f'{path}: {len(thin)} annotations have polygons that are not pairs of at least three x, y; mmdet leaves '
             f'these polygons out. The first: {thin[:SHOWN]}')

    if labelled and classes is not None and not any(names[a['category_id']] in classes for a in annotations):
        raise BadDataError(f'{path} has no annotation of the classes {tuple(classes)}')
    if labelled and keypoints is not None and not any(any(a.get('keypoints', ())) and 'bbox' in a for a in annotations):
        raise BadDataError(f'{path} has no annotation with both keypoints and a bbox')
    return images


def annotation_defect(annotation, needed, images, categories, keypoints):
    """What is wrong with one annotation of a COCO file, or None."""
    if not needed <= annotation.keys():
        return f'has no {", ".join(sorted(needed - annotation.keys()))}'
    if annotation['category_id'] not in categories:
        ids = sorted(categories)
        return (f'category_id {annotation["category_id"]} is none of the {len(ids)} ids of the categories, '
                f'{ids[0]} to {ids[-1]}')
    image = images.get(annotation['image_id'])
    if image is None:
        return f'image_id {annotation["image_id"]} is none of the {len(images)} images'
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


def is_box(box):
    return len(box) == 4 and all(isinstance(number, (int, float)) and math.isfinite(number) for number in box)


def check_detections(path, images, annotation_file):
    """Check a file of detected boxes, which mmpose uses instead of the annotated ones."""
    boxes = read_json(path)
    if not isinstance(boxes, list) or not boxes:
        raise BadDataError(f'{path} must hold a list of detections')
    refuse(f'{path}: detections that are not of the images of {annotation_file}, or lack four numbers of bbox:', [
        f'detection number {index}: {str(box)[:100]}' for index, box in enumerate(boxes)
        if box.get('image_id') not in images or not is_box(box.get('bbox', ()))])


def check_xml(path, dataset, kind, labelled):
    """Check the list of a dataset in VOC's format, and the XML file of every photo that it names."""
    classes = kind._load_metainfo(copy.deepcopy(dataset.get('metainfo'))).get('classes') or ()
    prefix = (dataset.get('data_prefix') or {}).get('sub_data_root') or ''
    folder = Path(dataset.get('data_root') or '', prefix, dataset.get('ann_subdir', 'Annotations'))
    defects, count = [], 0
    for name in read_names(path):
        xml = folder / f'{name}.xml'
        try:
            root = ElementTree.parse(xml).getroot()
            wanted = [item for item in root.findall('object') if item.find('name').text in classes]
            count += len(wanted)
            numbers = [float(item.find(f'bndbox/{side}').text) for item in wanted
                       for side in ('xmin', 'ymin', 'xmax', 'ymax')]
            if root.find('size') is not None:
                numbers += [int(root.find(f'size/{side}').text) for side in ('width', 'height')]
            if not all(map(math.isfinite, numbers)):
                defects.append(f'{xml} has a number that is not finite')
        except FileNotFoundError:
            defects.append(f'{xml} does not exist')
        except (ElementTree.ParseError, OSError) as error:
            defects.append(f'{xml} cannot be read: {error}')
        except (AttributeError, TypeError, ValueError):
            defects.append(f'{xml}: every object needs a name and a bndbox of four numbers, size a width and a height')
    refuse(f'{path}: annotations of {len(defects)} photos are bad:', defects)
    if labelled and not count:
        raise BadDataError(f'{path}: no photo has an object of the classes {tuple(classes)}')


def check_labels(path, lines, classes):
    """Check the lines ``photo label`` of a classification set."""
    defects = []
    for number, line in enumerate(lines, 1):
        label = line.rpartition(' ')[2]
        if not label.isdigit() or classes is not None and int(label) >= len(classes):
            defects.append(f'line {number}: {line}')
    allowed = f'from 0 to {len(classes) - 1}' if classes is not None else 'of 0 or more'
    refuse(f'{path}: lines that do not end with a label {allowed}:', defects)


def check_image_folders(dataset, kind):
    """Check a classification set without a list: a folder of images for every class. ImageNet's may have a list."""
    root, split = dataset.get('data_root') or '', dataset.get('split') or ''
    classes = kind._load_metainfo(copy.deepcopy(dataset.get('metainfo'))).get('classes')
    listed = os.path.join(root, 'meta', f'{split}.txt')
    if split and os.path.isfile(listed):
        check_labels(listed, read_names(listed), classes)
        return
    prefix = dataset.get('data_prefix') or split
    folder = os.path.join(root, (prefix.get('img_path') or '') if isinstance(prefix, dict) else prefix)
    if not os.path.isdir(folder):
        raise BadDataError(f'{folder} does not exist')
    found = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not found:
        raise BadDataError(f'{folder} is empty: it must have a folder of images for every class')
    if classes is not None and len(found) != len(classes):
        raise BadDataError(f'{folder} has {len(found)} folders, {", ".join(found[:SHOWN])}, ...; the dataset has '
                           f'{len(classes)} classes, and needs a folder for each')
    if not any(file.lower().endswith(IMAGES) for name in found
               for _, _, files in os.walk(os.path.join(folder, name)) for file in files):
        raise BadDataError(f'{folder} has no image ({", ".join(IMAGES)}) in any of its {len(found)} folders')


# 2. Before the first iteration: the photos and masks that the score depends on.


def check_photos(loop):
    """Check every photo of a validation or test set, and every mask of a segmentation set.

    A photo is read at its two ends only. A mask is decoded: its size and its labels have to fit.

    Args:
        loop (mmengine.runner.BaseLoop | None): The loop that will go over the set.

    Raises:
        BadDataError: If one is missing, cut off or does not fit.
    """
    from mmengine.dataset import BaseDataset
    defects = {}
    for dataset in leaves(getattr(getattr(loop, 'dataloader', None), 'dataset', None)):
        if not isinstance(dataset, BaseDataset):
            continue
        find_defect = mask_check(dataset)
        for index in range(len(dataset)):
            # mmpose's own get_data_info copies the metainfo for each of 100,000 detections, and counts them as loaded.
            info = BaseDataset.get_data_info(dataset, index)
            photo, mask = info.get('img_path'), info.get('seg_map_path')
            if isinstance(photo, str) and photo not in defects:
                defects[photo] = file_defect(photo)
            if find_defect and mask and not absent(photo) and not defects.get(photo):
                defects[mask] = file_defect(mask) or find_defect(mask, photo)
    found = [f'{path} {defect}' for path, defect in defects.items() if defect]
    refuse(f'{len(found)} photos or masks to evaluate on are bad:', found)


def mask_check(dataset):
    """What says what is wrong with a mask file of a built dataset for its photo; None if it reads no masks."""
    if hasattr(dataset, 'mask_defect'):
        return dataset.mask_defect  # masks of its own kind
    labels = mask_labels(dataset)
    return labels and partial(mask_file_defect, num_labels=labels[0], ignore_index=labels[1])


def mask_labels(dataset):
    """Number of labels in the mask files of a built mmseg dataset and the label to ignore; None if it reads none."""
    if 'BaseSegDataset' not in {base.__name__ for base in type(dataset).__mro__} or not any(
            type(transform).__name__ == 'LoadAnnotations' for transform in dataset.pipeline.transforms):
        return None
    classes = dataset.label_map or dataset.metainfo.get('classes')
    return classes and len(classes) + bool(dataset.reduce_zero_label), dataset.ignore_index


def mask_file_defect(path, photo, num_labels, ignore_index):
    with Image.open(path) as image:
        return mask_defect(np.asarray(image), image_shape(photo), num_labels, ignore_index)


def mask_defect(mask, shape, num_labels, ignore_index):
    """What is wrong with a mask, an array of labels, for a photo of ``shape`` (height, width); or None."""
    if mask.ndim != 2:
        return 'is a mask in colours; it must have one channel, of class numbers'
    defect = size_defect(mask, shape)
    if defect:
        return defect
    wrong = (mask >= num_labels) & (mask != ignore_index) if num_labels else np.zeros(0, bool)
    if wrong.any():
        return f'is a mask with label {mask[wrong].min()}; allowed are 0 to {num_labels - 1} and {ignore_index}'
    return None


def size_defect(mask, shape):
    """What is wrong with the size of a mask, (h, w), for a photo of ``shape``; or None."""
    if mask.shape != tuple(shape):
        return (f'is a mask of {mask.shape[0]} x {mask.shape[1]} pixels for a photo of {shape[0]} x {shape[1]} '
                '(height x width)')
    return None


# 3. While training.


def skip_bad_samples(cfg, strict=False):
    """Put SkipBadSample around every loading transform of the training pipelines, also in wrappers and in hooks.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        strict (bool): Stop at the first bad sample instead. Defaults to False.
    """

    def guarded(value, options):
        if isinstance(value, (list, tuple)):
            return type(value)(guarded(item, options) for item in value)
        if not isinstance(value, dict):
            return value
        name = getattr(value.get('type'), '__name__', str(value.get('type'))).rpartition('.')[2]
        if name == 'SkipBadSample':  # this is the config that an earlier run wrote into its work directory
            return type(value)(value, strict=strict)
        if name.startswith('Load'):
            return type(value)(type='res2net_mm.SkipBadSample', transform=value, **options)
        if 'pipeline' in value and 'type' in value:
            options = {**options, **segmentation_labels(value, cfg.get('default_scope'))}
        return type(value)({key: guarded(item, options) for key, item in value.items()})

    cfg.train_dataloader.dataset = guarded(cfg.train_dataloader.dataset, dict(strict=strict))
    if cfg.get('custom_hooks'):  # mmdet's PipelineSwitchHook brings a second pipeline
        cfg.custom_hooks = guarded(cfg.custom_hooks, dict(strict=strict))


def segmentation_labels(dataset, scope):
    """The labels that masks may have once they are loaded, as arguments of SkipBadSample; none if not mmseg's."""
    kind = dataset_class(dataset, scope)
    if 'BaseSegDataset' not in {base.__name__ for base in kind.__mro__}:
        return {}
    classes = kind._load_metainfo(copy.deepcopy(dataset.get('metainfo'))).get('classes')
    return dict(num_classes=classes and len(classes), ignore_index=dataset.get('ignore_index', 255))


def warn(message):
    from mmengine.dist import get_rank
    from mmengine.logging import print_log
    # mmengine shows nothing below an error of the processes of a distributed run but the first.
    print_log(message, logger='current', level=logging.WARNING if get_rank() == 0 else logging.ERROR)
