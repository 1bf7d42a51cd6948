"""Checks of annotations in VOC's format: a list of images, and an XML file for each."""
from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Sequence

from mmengine.registry import TRANSFORMS

from ...utils.config_types import ancestors, config_class
from .class_names import plain
from .coco_masks import steps
from .image_files import check_filters
from .lists import doubled, read_names
from .problems import Problem, list_defects
from .registry import DatasetSettings, annotation_check


@dataclass
class VocFindings:
    """What the XML files of a list hold, gathered file by file.

    Attributes:
        defects (list[str]): Files that mmdet cannot read.
        flat (list[str]): Boxes without width or height.
        swapped (list[str]): Files whose boxes fit into the image only if its width and height change places.
        misspelt (Counter): Objects by a name that differs from a class only by how it is written.
        images (list[tuple[float, bool]]): The shorter side of each image, and whether it has objects of the classes.
        objects (int): Objects of the classes.
    """

    defects: list[str] = field(default_factory=list)
    flat: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    misspelt: Counter[str] = field(default_factory=Counter)
    images: list[tuple[float, bool]] = field(default_factory=list)
    objects: int = 0


@annotation_check('mmdet.XMLDataset', read_by=('load_data_list', 'parse_data_info', '_parse_instance_info'))
def check_xml(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the list of a dataset in VOC's format, and the XML file of every image that it names.

    Boxes of other classes than those of the dataset are not looked at.
    """
    if not settings.has_local_file:
        return
    path, classes = settings.ann_file, tuple(settings.classes or ())
    folder = Path(settings.folder('sub_data_root'), settings.config.get('ann_subdir', 'Annotations'))
    names, found = read_names(path), VocFindings()
    for name in names:
        xml = folder / f'{name}.xml'
        try:
            look_at(xml, ElementTree.parse(xml).getroot(), classes, found)
        except FileNotFoundError:
            found.defects.append(f'{xml} does not exist')
        except (ElementTree.ParseError, OSError) as error:
            found.defects.append(f'{xml} cannot be read: {error}')
        except ValueError as error:
            found.defects.append(f'{xml}: every object needs a name and a bndbox of four numbers, size an integer '
                                 f'width and height: {error}')
    yield from list_defects(f'{path}: images that are listed more than once:', doubled(names), fatal=False)
    yield from report_findings(settings, classes, found)


def look_at(xml: Path, root: ElementTree.Element, classes: Sequence[str], found: VocFindings) -> None:
    """Add what one XML file holds to the findings.

    Raises:
        ValueError: If something is missing in it, or is no number.
    """
    spellings = {plain(name) for name in classes}
    boxes = []
    for item in root.findall('object'):
        name = element_text(item, 'name')
        if name not in classes:
            found.misspelt[name] += plain(name) in spellings
            continue
        box = [float(element_text(item, f'bndbox/{side}')) for side in ('xmin', 'ymin', 'xmax', 'ymax')]
        if not all(map(math.isfinite, box)):
            raise ValueError('a number is not finite')
        if item.find('difficult') is not None:
            int(element_text(item, 'difficult'))
        boxes.append([int(number) for number in box])  # as mmdet does
    found.objects += len(boxes)
    found.flat += [f'{xml}: bndbox {box}' for box in boxes if box[2] <= box[0] or box[3] <= box[1]]
    if root.find('size') is not None:
        width, height = (int(element_text(root, f'size/{side}')) for side in ('width', 'height'))
        found.images.append((min(width, height), bool(boxes)))
        right, bottom = (max((box[side] for box in boxes), default=0) for side in (2, 3))
        if (right > width or bottom > height) and right <= height and bottom <= width:
            found.swapped.append(f'{xml}: width {width}, height {height}; boxes reach to {right}, {bottom}')
    else:
        found.images.append((math.inf, bool(boxes)))  # mmdet reads the image


def report_findings(settings: DatasetSettings, classes: Sequence[str], found: VocFindings) -> Iterator[Problem]:
    """The problems among what was found in the XML files of a dataset."""
    path, training = settings.ann_file, settings.split == 'train'
    yield from list_defects(f'{path}: annotations of {len(found.defects)} images are bad:', found.defects)
    if training and not drops_small_boxes(settings):
        yield from list_defects(f'{path}: {len(found.flat)} of {found.objects} boxes have no width or no height, which '
                                'makes the loss of a detector NaN; remove them, or leave them out with '
                                f'{settings.where}.filter_cfg.bbox_min_size=1:', found.flat)
    elif not training:
        yield from list_defects(f'{path}: {len(found.flat)} of {found.objects} boxes have no width or no height; each '
                                'counts as an object that was missed:', found.flat, fatal=False)
    yield from list_defects(f'{path}: width and height look swapped in the size of {len(found.swapped)} images:',
                            found.swapped, fatal=False)
    by_spelling = {plain(name): name for name in classes}
    yield from list_defects(
        f'{path}: names of objects that differ from a class only by how they are written, so that they are background; '
        'rename them:', [f'{name!r} ({count} objects), the class is {by_spelling[plain(name)]!r}'
                         for name, count in found.misspelt.items() if count])
    empty = [f'{side} pixels' for side, _ in found.images if side < 1]
    if empty:
        yield Problem(f'{path}: {len(empty)} images have a width or height of 0 in their XML file'
                      + ('; filter_cfg.min_size leaves them out' if training else ''), fatal=False)
    if settings.labelled and not found.objects and not found.defects and not any(found.misspelt.values()):
        yield Problem(f'{path}: no image has an object of the classes {classes}')
    yield from check_filters(settings, found.images)


def drops_small_boxes(settings: DatasetSettings) -> bool:
    """Whether a dataset of mmdet, or its pipeline, leaves out boxes without width or height."""
    filters = settings.config.get('filter_cfg')
    return bool(isinstance(filters, dict) and filters.get('bbox_min_size')) or any(
        'mmdet.FilterAnnotations' in ancestors(config_class(step, TRANSFORMS, settings.scope))
        for step in steps(settings.config.get('pipeline')))


def element_text(parent: ElementTree.Element, path: str) -> str:
    """The text of an element inside another; '' if it has none.

    Raises:
        ValueError: If there is no such element.
    """
    text = parent.findtext(path)
    if text is None:
        raise ValueError(f'<{parent.tag}> has no {path}')
    return text
