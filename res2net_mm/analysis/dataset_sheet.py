"""A sheet of images with their annotations drawn, as the loading transforms of a dataset return them.

Every class has one colour, in all cells. Boxes of ignored objects are grey.
"""
from __future__ import annotations

import colorsys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Sequence

import cv2
import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image, ImageDraw, ImageFont

from .dataset_samples import ImageSample, load_sample
from .dataset_summary import labelled_keypoints

COLUMNS = 4
CELL = 400  # pixels, width of a cell
MOST_HEIGHT = 360  # of an image in its cell
MARGIN = 4
CAPTION = 38  # two lines below an image
FONT_SIZE = 13
MOST_NAME = 48  # letters of a path
GREY = (150, 150, 150)
LEAST_IGNORED = 0.02  # of a mask, to be named: not the thin lines between VOC's objects
Colour = tuple  # of red, green and blue from 0 to 255


@dataclass
class SheetCell:
    """One image of the sheet, already of the size at which it is shown.

    Attributes:
        image (np.ndarray): (h, w, 3) uint8, RGB; annotations are drawn into it.
        scale (tuple[float, float]): What x and y of the annotations are multiplied by.
        caption (list[str]): Lines below it.
        names (list): Names to write into it: x and y of their upper left corner, text, colour. Defaults to none.
    """

    image: np.ndarray
    scale: tuple[float, float]
    caption: list[str]
    names: list[tuple[int, int, str, Colour]] = field(default_factory=list)

    def point(self, x: float, y: float) -> tuple[int, int]:
        """A place of the annotations in the image that is shown; numbers that are not finite become 0."""
        places = np.nan_to_num([x * self.scale[0], y * self.scale[1]], posinf=0, neginf=0)
        column, row = np.clip(np.rint(places), -9999, 9999).astype(int).tolist()
        return column, row


def draw_dataset_sheet(samples: Sequence[ImageSample], path: str | Path) -> dict[str, str]:
    """Draw images with their annotations, four in a row.

    Args:
        samples (Sequence[ImageSample]): The images.
        path (str | Path): The picture to write; its suffix says the format.

    Returns:
        dict[str, str]: Of those that could not be loaded, the name and why.
    """
    cells, failed = [], {}
    for sample in samples:
        try:
            cells.append(draw_sample(sample))
        except Exception as error:  # of whatever a toolbox does with a bad file
            failed[sample.name] = f'{type(error).__name__}: {error}'
            cells.append(SheetCell(np.full((MOST_HEIGHT // 2, CELL - 2 * MARGIN, 3), 90, np.uint8), (1, 1),
                                   [short_name(sample), 'cannot be loaded']))
    rows = [cells[i:i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    heights = [max(cell.image.shape[0] for cell in row) + CAPTION + 2 * MARGIN for row in rows]
    sheet = Image.new('RGB', (COLUMNS * CELL, sum(heights)), 'white')
    top = 0
    for row, height in zip(rows, heights):
        for column, cell in enumerate(row):
            paste_cell(sheet, cell, column * CELL, top)
        top += height
    sheet.save(path, quality=92)
    return failed


def paste_cell(sheet: Image.Image, cell: SheetCell, left: int, top: int) -> None:
    """Put a cell, the names in it, and its caption on the sheet, its upper left corner at ``left``, ``top``."""
    image = Image.fromarray(cell.image)
    write_names(ImageDraw.Draw(image), cell)
    sheet.paste(image, (left + (CELL - image.width) // 2, top + MARGIN))
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(cell.caption):
        draw.text((left + CELL // 2, top + image.height + 2 * MARGIN + 16 * number), line, 'black', font(), anchor='ma')


def write_names(draw: ImageDraw.ImageDraw, cell: SheetCell) -> None:
    """Write the names of a cell, each where it covers no other; those without room are left out, and counted."""
    taken: list[tuple[float, float, float, float]] = []
    height, width = cell.image.shape[:2]
    left_out = 0
    for x, y, text, colour in cell.names:
        _, _, text_width, text_height = draw.textbbox((0, 0), text, font())
        for dy in (-text_height - 2, 0, text_height + 2, 2 * text_height + 4):
            x0, y0 = max(0, min(x, width - text_width - 4)), max(0, min(y + dy, height - text_height - 2))
            place = (x0, y0, x0 + text_width + 4, y0 + text_height + 2)
            if not any(place[0] < other[2] and other[0] < place[2] and place[1] < other[3] and other[1] < place[3]
                       for other in taken):
                taken.append(place)
                draw.rectangle(place, colour)
                bright = np.dot(colour, (0.299, 0.587, 0.114)) > 140
                draw.text((x0 + 2, y0), text, 'black' if bright else 'white', font())
                break
        else:
            left_out += 1
    if left_out:
        cell.caption[-1] += f', {plural(left_out, "name")} left out'


# 1. One sample.


def draw_sample(sample: ImageSample) -> SheetCell:
    """Load an image with its annotations and draw them.

    Raises:
        ValueError: If a transform refuses it; a toolbox raises others.
    """
    loaded = [load_sample(sample, index) for index in sample.indices]
    cell = fit_image(sample, loaded[0])
    notes = []
    for number, entry in enumerate(loaded):
        if entry.get('gt_seg_map') is not None:
            draw_labels(cell, entry['gt_seg_map'], sample.dataset)
        if 'keypoints' in entry:
            draw_keypoints(cell, entry, sample.dataset.metainfo)
        elif 'gt_bboxes' in entry:
            notes.append(draw_objects(cell, entry, sample.dataset))
        if 'gt_label' in entry and number == 0:
            notes.append(', '.join(class_name(sample.dataset, int(label)) for label in np.ravel(entry['gt_label'])))
    if any('keypoints' in entry for entry in loaded):
        people = sum(len(entry['keypoints']) for entry in loaded if 'keypoints' in entry)
        notes.append(f'{plural(people, "object")} with keypoints')
    height, width = loaded[0]['img'].shape[:2]
    cell.caption.append('  '.join([f'{width} × {height}', *notes]))
    return cell


def fit_image(sample: ImageSample, loaded: dict[str, Any]) -> SheetCell:
    """The cell of a loaded image, of the size at which it is shown."""
    image = np.asarray(loaded['img'])
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype != np.uint8:
        image = image.astype(np.float64) - image.min()
        image = (image * (255 / (image.max() or 1))).astype(np.uint8)
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    if loaded.get('img_path'):  # loaded by OpenCV; images that are in the annotations themselves are RGB
        image = image[..., ::-1]
    height, width = image.shape[:2]
    factor = min((CELL - 2 * MARGIN) / width, MOST_HEIGHT / height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST if factor > 4 else cv2.INTER_LINEAR
    shown = cv2.resize(np.ascontiguousarray(image), size, interpolation=way)
    return SheetCell(shown, (size[0] / width, size[1] / height), [short_name(sample)])


def draw_objects(cell: SheetCell, loaded: dict[str, Any], dataset: BaseDataset) -> str:
    """Draw the boxes and masks of a sample of mmdet; return how many there are."""
    boxes = np.asarray(getattr(loaded['gt_bboxes'], 'tensor', loaded['gt_bboxes']), np.float64).reshape(-1, 4)
    labels = np.ravel(loaded.get('gt_bboxes_labels', np.zeros(len(boxes), int)))
    ignored = np.ravel(loaded.get('gt_ignore_flags', np.zeros(len(boxes), bool)))
    height, width = cell.image.shape[:2]
    if loaded.get('gt_masks') is not None and len(boxes):
        for mask, label in zip(loaded['gt_masks'].resize((height, width)).to_ndarray(), labels):
            overlay(cell.image, mask > 0, class_colour(int(label)))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in np.argsort(-areas):  # the small ones last, above the large ones
        colour = GREY if ignored[i] else class_colour(int(labels[i]))
        corner = cell.point(*boxes[i, :2])
        cv2.rectangle(cell.image, corner, cell.point(*boxes[i, 2:]), colour, 1 if ignored[i] else 2)
        name = class_name(dataset, int(labels[i])) + (' (ignored)' if ignored[i] else '')
        cell.names.append((corner[0], corner[1], name, colour))
    return plural(len(boxes), 'box') + (', with masks' if loaded.get('gt_masks') is not None else '')


def draw_keypoints(cell: SheetCell, loaded: dict[str, Any], metainfo: dict[str, Any]) -> None:
    """Draw the boxes, skeletons and labelled keypoints of an entry of mmpose."""
    for x1, y1, x2, y2 in np.reshape(loaded.get('bbox', ()), (-1, 4)):
        cv2.rectangle(cell.image, cell.point(x1, y1), cell.point(x2, y2), (255, 255, 255), 1)
    links = metainfo.get('skeleton_links') or []
    link_colours = metainfo.get('skeleton_link_colors')
    point_colours = metainfo.get('keypoint_colors')
    for points, labelled in zip(loaded['keypoints'], labelled_keypoints(loaded)):
        for number, (first, second) in enumerate(links):
            if labelled[first] and labelled[second]:
                colour = class_colour(number) if link_colours is None else tuple(map(int, link_colours[number]))
                cv2.line(cell.image, cell.point(*points[first]), cell.point(*points[second]), colour, 2, cv2.LINE_AA)
        for number in np.flatnonzero(labelled):
            colour = class_colour(int(number)) if point_colours is None else tuple(map(int, point_colours[number]))
            cv2.circle(cell.image, cell.point(*points[number]), 4, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(cell.image, cell.point(*points[number]), 3, colour, -1, cv2.LINE_AA)


def draw_labels(cell: SheetCell, labels: np.ndarray, dataset: BaseDataset) -> None:
    """Draw a semantic mask: a colour for each class; the background is darker, and what is ignored is light grey."""
    height, width = cell.image.shape[:2]
    labels = cv2.resize(np.asarray(labels, np.int32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    for label in np.unique(labels).tolist():
        region = labels == label
        name = class_name(dataset, label)
        colour = class_colour(label)
        if label == getattr(dataset, 'ignore_index', 255):
            name, colour = f'ignored ({label})', GREY
            overlay(cell.image, region, (230, 230, 230), outlined=False)
            if region.mean() < LEAST_IGNORED:
                continue
        elif name.lower() in ('background', 'bg', '_background_'):
            cell.image[region] = (0.7 * cell.image[region]).astype(np.uint8)
            continue
        else:
            overlay(cell.image, region, colour)
        # The name stands in the middle of the widest part.
        distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)
        row, column = np.unravel_index(distance.argmax(), distance.shape)
        cell.names.append((int(column) - 20, int(row), name, colour))


def overlay(image: np.ndarray, region: np.ndarray, colour: Colour, outlined: bool = True) -> None:
    """Mix a colour into a region of an image, and draw its outline.

    Args:
        image (np.ndarray): (h, w, 3) uint8, changed in place.
        region (np.ndarray): (h, w) bool.
        colour (tuple): Red, green and blue from 0 to 255.
        outlined (bool): Whether the outline is drawn. Defaults to True.
    """
    image[region] = (0.6 * image[region] + 0.4 * np.asarray(colour)).astype(np.uint8)
    if outlined:
        contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, colour, 1, cv2.LINE_AA)


# 2. Names and colours.


def class_name(dataset: BaseDataset, label: int) -> str:
    """The name of a label; its number if no class has it."""
    names = dataset.metainfo.get('classes') or ()
    return str(names[label]) if 0 <= label < len(names) else f'label {label}'


def class_colour(label: int) -> Colour:
    """The colour of a label; those of labels that follow one another differ most."""
    hue = (0.08 + label * 0.618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.95 if label % 2 == 0 else 0.6, 1.0 if label % 3 else 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)


def short_name(sample: ImageSample) -> str:
    """The path of an image in the root of its dataset, or the end of it, which tells files apart."""
    root = str(getattr(sample.dataset, 'data_root', None) or '')
    name = sample.name[len(root):].lstrip('/') if sample.name.startswith(root) else sample.name
    return name if len(name) <= MOST_NAME else f'…{name[1 - MOST_NAME:]}'


def plural(number: int, noun: str) -> str:
    """A number and its noun: '1 box', '2 boxes'."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}{"es" if noun.endswith("x") else "s"}'


@lru_cache(maxsize=None)
def font() -> ImageFont.FreeTypeFont:
    """The font of the sheet: matplotlib's, which has Greek and Cyrillic letters too."""
    from matplotlib import get_data_path
    return ImageFont.truetype(str(Path(get_data_path()) / 'fonts/ttf/DejaVuSans.ttf'), FONT_SIZE)
