"""A file in COCO's format: its lists, and what each of their entries must be whoever reads it."""
from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Union

from .lists import read_json, remembered
from .problems import SHOWN, Problem, list_defects

Id = Union[int, float, str]
LISTS = ('images', 'categories', 'annotations')
NEEDED = {'category_id', 'id', 'image_id'}  # of every annotation
NUMBERS = {int, float}
LARGEST = 1e9  # of coordinates, in pixels; a comparison with it refuses NaN, infinity and integers beyond any float


@dataclass(frozen=True)
class CocoFile:
    """What is sound in a file in COCO's format, and what is not.

    Attributes:
        path (str): The file.
        images (dict[Id, dict]): The images by id.
        categories (list[tuple[Id, str]]): Ids and names of the categories, in the order of the file.
        annotations (list[dict] | None): The annotations, of these images and categories; None: it has no such list.
        problems (list[Problem]): What is wrong with it, and is left out of the above.
        keys (list[str]): Its keys.
        readable (bool): Whether it has images, and categories that are all sound, so that more can be said of it.
    """

    path: str
    images: dict[Id, dict] = field(default_factory=dict)
    categories: list[tuple[Id, str]] = field(default_factory=list)
    annotations: list[dict] | None = None
    problems: list[Problem] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    readable: bool = False


@remembered
def read_coco(path: str) -> CocoFile:
    """Read a file in COCO's format.

    Args:
        path (str): The file.

    Raises:
        BadDataError: If it is not JSON.
    """
    data = read_json(path)
    problems = list(check_lists(path, data))
    if problems:
        return CocoFile(path, problems=problems)
    images = sort_out(path, 'images', data['images'], image_defect, problems)
    categories = sort_out(path, 'categories', data['categories'], category_defect, problems)
    image_ids, category_ids = trusted_ids(data['images']), trusted_ids(data['categories'])
    annotations = None
    if 'annotations' in data:
        annotations = sort_out(path, 'annotations', data['annotations'],
                               partial(annotation_defect, image_ids=image_ids, category_ids=category_ids), problems)
    for name, entries in (('images', images), ('categories', categories), ('annotations', annotations or [])):
        problems += check_ids(path, name, entries)
    problems += check_doubled_files(path, images)
    by_id = {image['id']: image for image in images}
    names = [(category['id'], category['name']) for category in categories]
    if annotations and problems:
        # What is wrong with an image is said once, and not again with each of its annotations.
        sound = {key for key, _ in names}
        annotations = [item for item in annotations if item['image_id'] in by_id and item['category_id'] in sound]
    readable = bool(images) and len(categories) == len(data['categories'])
    return CocoFile(path, by_id, names, annotations, problems, list(data), readable)


def check_lists(path: str, data: Any) -> Iterator[Problem]:
    """Check that a file has the lists of COCO's format; that of annotations may be missing."""
    if not isinstance(data, dict) or not all(isinstance(data.get(name, []), list) for name in LISTS) or not all(
            name in data for name in ('images', 'categories')):
        yield must_hold_lists(path, data, LISTS[:2])
        return
    for name in ('images', 'categories'):
        if not data[name]:
            yield Problem(f'{path} has no {name}')


def must_hold_lists(path: str, data: Any, lists: Iterable[str]) -> Problem:
    """The problem of a file that lacks one of the lists."""
    content = f'a {type(data).__name__}'
    if isinstance(data, dict):
        content = f'the keys {list(data)[:SHOWN]}'
        wrong = [name for name in LISTS if not isinstance(data.get(name, []), list)]
        if wrong:
            content += f', and {wrong[0]} is a {type(data[wrong[0]]).__name__}'
    return Problem(f"{path} must hold the lists {', '.join(lists)} of COCO's format; it holds {content}")


def sort_out(path: str, name: str, entries: list, defect: Callable[[dict], str | None],
             problems: list[Problem]) -> list[dict]:
    """The sound entries of a list; what is wrong with the others is added to the problems."""
    sound, defects = [], []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            defects.append(f'{name}[{number}] is {entry!r:.60}, and no object with keys and values')
            continue
        wrong = defect(entry)
        if wrong is None:
            sound.append(entry)
        else:
            defects.append(f'{entry_name(name, entry, number)}: {wrong}')
    problems += list_defects(f'{path}: {len(defects)} of {len(entries)} {name} are bad:', defects)
    return sound


def entry_name(name: str, entry: dict, number: int) -> str:
    """What a message calls an entry of a list: by its id if it has a good one."""
    singular = dict(images='image', categories='category', annotations='annotation')[name]
    return f'{singular} {entry["id"]}' if is_id(entry.get('id')) else f'{name}[{number}]'


def is_id(value: Any) -> bool:
    """Whether a value can be an id: an integer, also one written 7.0, or a text."""
    return type(value) in (int, str) or type(value) is float and value.is_integer()


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of at most a billion; ``true`` is none."""
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def trusted_ids(entries: list) -> set[Id] | None:
    """The ids of the entries of a list; None if some have none, or the same: annotations of those are not to blame."""
    ids = {entry['id'] for entry in entries if isinstance(entry, dict) and is_id(entry.get('id'))}
    return ids if len(ids) == len(entries) else None


def image_defect(image: dict) -> str | None:
    """What is wrong with an image, or None."""
    missing = [key for key in ('id', 'file_name', 'height', 'width') if key not in image]
    if missing:
        return f'has no {", ".join(missing)}'
    if not is_id(image['id']):
        return f'id {image["id"]!r:.60} must be an integer or a text'
    if not isinstance(image['file_name'], str) or not image['file_name'].strip():
        return f'file_name {image["file_name"]!r:.60} must be the name of a file'
    for side in ('height', 'width'):
        if not is_number(image[side]) or image[side] < 1 or image[side] != int(image[side]):
            return f'{side} {image[side]!r:.60} must be an integer of 1 or more, in pixels'
    return None


def category_defect(category: dict) -> str | None:
    """What is wrong with a category, or None."""
    missing = [key for key in ('id', 'name') if key not in category]
    if missing:
        return f'has no {", ".join(missing)}'
    if not is_id(category['id']):
        return f'id {category["id"]!r:.60} must be an integer or a text'
    if not isinstance(category['name'], str) or not category['name']:
        return f'name {category["name"]!r:.60} must be a text'
    return None


def annotation_defect(annotation: dict, image_ids: set[Id] | None,
                      category_ids: set[Id] | None) -> str | None:
    """What is wrong with an annotation for every reader, or None; what it lacks for one of them is not said here.

    Args:
        annotation (dict): The annotation.
        image_ids (set[Id] | None): The ids of the images; None: any may be right.
        category_ids (set[Id] | None): The ids of the categories, likewise.
    """
    if not annotation.keys() >= NEEDED:
        return f'has no {", ".join(sorted(NEEDED - annotation.keys()))}'
    if type(annotation['id']) is not int and not is_id(annotation['id']):
        return f'id {annotation["id"]!r:.60} must be an integer or a text'
    for key, ids, what in (('image_id', image_ids, 'images'), ('category_id', category_ids, 'categories')):
        value = annotation[key]
        if type(value) is not int and not is_id(value):  # the first alone is faster
            return f'{key} {value!r:.60} must be an integer or a text'
        if ids is not None and value not in ids:
            return f'{key} {value!r:.60} is none of the {len(ids)} ids of the {what}{id_range(ids)}'
    if 'bbox' in annotation and not is_box(annotation['bbox']):
        return f'bbox {annotation["bbox"]!r:.60} must be four finite numbers x, y, width, height'
    if 'area' in annotation and type(annotation['area']) not in (int, float):
        return f'area {annotation["area"]!r:.60} must be a number'
    if annotation.get('iscrowd') not in (None, 0, 1):
        return f'iscrowd {annotation["iscrowd"]!r:.60} must be 0 or 1'
    return None


def id_range(ids: set[Id]) -> str:
    """The first and the last of some ids, as the end of a message; '' if they have no order."""
    return '' if not ids or any(isinstance(key, str) for key in ids) else f', {min(ids)} to {max(ids)}'


def is_box(box: Any) -> bool:
    """Whether a box is a list of four finite numbers. It is asked a million times: this is faster than one by one."""
    return (isinstance(box, list) and len(box) == 4 and {*map(type, box)} <= NUMBERS
            and min(box) > -LARGEST and max(box) < LARGEST and not math.isnan(sum(box)))


def check_ids(path: str, name: str, entries: list[dict]) -> Iterator[Problem]:
    """Check that the ids of a list are all different, and that those of images and categories can be sorted."""
    ids = [entry['id'] for entry in entries]
    if len(set(ids)) < len(ids):
        counts = Counter(ids)
        yield from list_defects(
            f'{path}: {name} with the same id, of which pycocotools keeps one and takes it for the others; give each '
            'an id of its own:', [f'id {key} ({count} {name})' for key, count in counts.items() if count > 1])
    if name != 'annotations' and len({isinstance(key, str) for key in ids}) > 1:
        texts = [f'id {key!r}' for key in ids if isinstance(key, str)]
        yield from list_defects(f'{path}: the ids of {name} must be all integers or all texts; {len(texts)} of '
                                f'{len(ids)} are texts:', texts)


def check_doubled_files(path: str, images: list[dict]) -> Iterator[Problem]:
    """Warn of a file that is several images."""
    by_file: dict[str, list[Id]] = {}
    for image in images:
        by_file.setdefault(image['file_name'], []).append(image['id'])
    yield from list_defects(
        f'{path}: files that are several images; on each of them the objects of the others count as background:',
        [f'{name}: the images {", ".join(map(str, ids[:SHOWN]))}' for name, ids in by_file.items() if len(ids) > 1],
        fatal=False)
