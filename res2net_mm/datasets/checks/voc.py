"""Checks of annotations in VOC's format: a list of images, and an XML file for each."""
from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Iterator

from .lists import read_names
from .problems import Problem, list_defects
from .registry import DatasetSettings, annotation_check


@annotation_check('mmdet.XMLDataset')
def check_xml(settings: DatasetSettings) -> Iterator[Problem]:
    """Check the list of a dataset in VOC's format, and the XML file of every image that it names.

    Objects of other classes than those of the dataset are not looked at.
    """
    if not settings.has_local_file:
        return
    path, classes = settings.ann_file, settings.classes or ()
    folder = Path(settings.folder('sub_data_root'), settings.config.get('ann_subdir', 'Annotations'))
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
    yield from list_defects(f'{path}: annotations of {len(defects)} images are bad:', defects)
    if settings.labelled and not count and not defects:
        yield Problem(f'{path}: no image has an object of the classes {tuple(classes)}')


def element_text(parent: ElementTree.Element, path: str) -> str:
    """The text of an element inside another; '' if it has none.

    Raises:
        ValueError: If there is no such element.
    """
    text = parent.findtext(path)
    if text is None:
        raise ValueError(f'<{parent.tag}> has no {path}')
    return text
