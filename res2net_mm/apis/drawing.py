"""Predictions drawn on their images, with NumPy, OpenCV and Pillow alone."""
from __future__ import annotations

import colorsys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .prediction import Prediction

SCORE = 0.3  # the least score of an object, and of a keypoint, that is drawn
TOP = 5  # classes of a classifier
OPACITY = 0.5  # of masks and segments
BACKGROUND = 'background'  # the name of the class of what is of no class
DARKENED = 0.25  # how bright what is not salient is
Colour = tuple  # blue, green, red: 0 to 255


def draw_prediction(image: np.ndarray, prediction: Prediction, score: float = SCORE,
                    classes: Sequence[str] | None = None) -> np.ndarray:
    """Draw what a model says about an image.

    Args:
        image (np.ndarray): (h, w, 3) uint8, BGR.
        prediction (Prediction): The model's prediction for it.
        score (float): The least score of an object that is drawn. Defaults to 0.3. Of a classifier the five surest
            classes are written, whatever their scores.
        classes (Sequence[str] | None): Names of the classes that are drawn. Defaults to None, all.

    Returns:
        np.ndarray: (h, w, 3) uint8, BGR: a copy.

    Raises:
        ValueError: If the prediction is of an image of another size.
    """
    if tuple(prediction.size) != image.shape[:2]:
        raise ValueError(f'the prediction is of an image of {prediction.size[0]} x {prediction.size[1]} pixels (height '
                         f'x width), and this one has {image.shape[0]} x {image.shape[1]}')
    drawn = np.ascontiguousarray(image).copy()
    names = None if classes is None else tuple(classes)
    if prediction.task == 'classification':
        draw_classes(drawn, prediction.select(0, names))
    elif prediction.segmentation is not None:
        draw_segments(drawn, prediction.segmentation, prediction.classes, names)
    elif prediction.saliency is not None:
        drawn = darken(drawn, prediction.saliency)
    else:
        draw_objects(drawn, prediction.select(score, names))
    return drawn


def draw_objects(image: np.ndarray, found: Prediction) -> None:
    """Draw masks, boxes, keypoints and labels of objects into an image; the surest come last, on top."""
    assert found.labels is not None and found.scores is not None
    width = line_width(image)
    order = range(len(found.labels))[::-1]
    colours = [colour_of(i if found.keypoints is not None else int(found.labels[i])) for i in range(len(found.labels))]
    if found.masks is not None:
        for i in order:
            blend(image, found.masks[i], colours[i])
    if found.boxes is not None and (found.keypoints is None or len(order) > 1 or not is_whole(found.boxes, image)):
        for i in order:
            left, top, right, bottom = (int(round(float(side))) for side in found.boxes[i])
            cv2.rectangle(image, (left, top), (right, bottom), colours[i], width if found.keypoints is None else 1)
    if found.keypoints is not None:
        for i in order:
            draw_pose(image, found.keypoints[i], found.skeleton, colours[i])
        return
    if found.boxes is not None:
        draw_labels(image, found.boxes, [f'{found.classes[label]} {score:.2f}' for label, score in
                                         zip(found.labels, found.scores)], colours)


def is_whole(boxes: np.ndarray, image: np.ndarray) -> bool:
    """Whether the only box is the whole image."""
    return len(boxes) == 1 and bool((boxes[0] == [0, 0, image.shape[1], image.shape[0]]).all())


def draw_labels(image: np.ndarray, boxes: np.ndarray, texts: Sequence[str], colours: Sequence[Colour]) -> None:
    """Write a label at each box: above it, or inside or below; none where less would be read with one more.

    The surest choose first. The colour of a box says its class, too.
    """
    size = font_size(image)
    taken: list[tuple[int, int, int, int]] = []
    for i in range(len(texts)):
        height, width = text_mask(texts[i], size).shape
        left, top, _, bottom = (int(round(float(side))) for side in boxes[i])
        x = min(max(left - line_width(image) // 2, 0), max(image.shape[1] - width, 0))
        rows = [min(max(y, 0), max(image.shape[0] - height, 0)) for y in (
            top - height, top, bottom - height, bottom, *(top + k * height for k in range(1, 6)))]
        y = next((y for y in rows if not any(overlap((x, y, width, height), other) for other in taken)), None)
        if y is not None:
            taken.append((x, y, width, height))
            write(image, texts[i], (x, y), size, colours[i])


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two rectangles, each left, top, width and height, share a pixel."""
    return (one[0] < other[0] + other[2] and other[0] < one[0] + one[2] and
            one[1] < other[1] + other[3] and other[1] < one[1] + one[3])


def draw_pose(image: np.ndarray, keypoints: np.ndarray, skeleton: Sequence[tuple[int, int]], colour: Colour) -> None:
    """Draw the keypoints of one object, (k, 3), and the lines between those that are sure."""
    width, sure = line_width(image), keypoints[:, 2] >= SCORE
    points = [(int(round(float(x))), int(round(float(y)))) for x, y in keypoints[:, :2]]
    for start, end in skeleton:
        if sure[start] and sure[end]:
            cv2.line(image, points[start], points[end], colour, width, cv2.LINE_AA)
    for point, shown in zip(points, sure):
        if shown:
            cv2.circle(image, point, width + 1, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(image, point, width + 1, colour, max(1, width // 2), cv2.LINE_AA)


def draw_segments(image: np.ndarray, labels: np.ndarray, classes: Sequence[str],
                  wanted: Sequence[str] | None = None) -> None:
    """Blend segments into an image, and write the names of the classes that there are, the largest first.

    A background is left as it is.
    """
    present, pixels = np.unique(labels, return_counts=True)
    order = [int(label) for label in present[np.argsort(-pixels, kind='stable')]
             if label < len(classes) and classes[label] != BACKGROUND and (wanted is None or classes[label] in wanted)]
    for label in order:
        blend(image, labels == label, colour_of(label))
    write_list(image, [classes[label] for label in order], [colour_of(label) for label in order])


def draw_classes(image: np.ndarray, prediction: Prediction) -> None:
    """Write the surest classes of a classifier into the upper left corner."""
    assert prediction.labels is not None and prediction.scores is not None
    texts = [f'{prediction.classes[label]} {score:.2f}' for label, score in
             zip(prediction.labels[:TOP], prediction.scores[:TOP])]
    write_list(image, texts, [colour_of(int(label)) for label in prediction.labels[:TOP]])


def darken(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """An image that is as bright as it is salient; ``saliency`` is (h, w), 0 to 1."""
    brightness = DARKENED + (1 - DARKENED) * np.clip(saliency, 0, 1).astype(np.float32)
    return cv2.multiply(image, cv2.merge([brightness] * 3), dtype=cv2.CV_8U)


def blend(image: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Blend a colour into the pixels of a mask, (h, w) bool, and draw its outline."""
    where = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(where)
    if not width:
        return
    part, inside = image[top:top + height, left:left + width], where[top:top + height, left:left + width]
    mixed = cv2.addWeighted(part, 1 - OPACITY, np.full_like(part, colour), OPACITY, 0)
    cv2.copyTo(mixed, inside, part)
    outlines, _ = cv2.findContours(where, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, outlines, -1, colour, max(1, line_width(image) // 2), cv2.LINE_AA)


def write_list(image: np.ndarray, texts: Sequence[str], colours: Sequence[Colour]) -> None:
    """Write lines into the upper left corner: one, and as many more as leave the lower half of the image free."""
    size, y = font_size(image), 0
    for text, colour in zip(texts, colours):
        height = text_mask(text, size).shape[0]
        if y and y + height > image.shape[0] / 2:
            break
        write(image, text, (0, y), size, colour)
        y += height


def write(image: np.ndarray, text: str, corner: tuple[int, int], size: int, colour: Colour) -> None:
    """Write a line of text on a ground of its colour, in black or white, whichever is easier to read.

    Args:
        image (np.ndarray): (h, w, 3) uint8, BGR, changed in place.
        text (str): The text.
        corner (tuple[int, int]): x and y of its upper left corner, in the image; what is outside is cut off.
        size (int): Of the font, in pixels.
        colour (tuple[int, int, int]): Of the ground.
    """
    x, y = corner
    mask = text_mask(text, size)[:image.shape[0] - y, :image.shape[1] - x, None].astype(np.float32) / 255
    bright = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2] > 140
    ground, ink = np.array(colour, np.float32), 0. if bright else 255.
    image[y:y + mask.shape[0], x:x + mask.shape[1]] = ground + mask * (ink - ground)


@lru_cache(maxsize=256)
def text_mask(text: str, size: int) -> np.ndarray:
    """(h, w) uint8: where the ink of a line of text is, with a margin."""
    shape, margin = font(size), max(1, size // 5)
    left, _, right, _ = shape.getbbox(text)
    ascent, descent = shape.getmetrics() if hasattr(shape, 'getmetrics') else (size, size // 4)
    picture = Image.new('L', (int(right - min(left, 0)) + 2 * margin, ascent + descent + margin), 0)
    ImageDraw.Draw(picture).text((margin - min(left, 0), margin // 2), text, fill=255, font=shape)
    return np.asarray(picture)


@lru_cache(maxsize=None)
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib, for it has more letters than Pillow's own; or that."""
    spec = find_spec('matplotlib')
    if spec and spec.origin:
        file = Path(spec.origin).parent / 'mpl-data' / 'fonts' / 'ttf' / 'DejaVuSans.ttf'
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    try:
        return ImageFont.load_default(size)  # type: ignore
    except TypeError:  # Pillow before 10.1
        return ImageFont.load_default()  # type: ignore


def font_size(image: np.ndarray) -> int:
    """The size of a font that can be read in an image, in pixels."""
    return max(10, round(0.028 * (image.shape[0] * image.shape[1])**0.5))


def line_width(image: np.ndarray) -> int:
    """The width of lines in an image, in pixels."""
    return max(1, round(0.004 * (image.shape[0] * image.shape[1])**0.5))


@lru_cache(maxsize=None)
def colour_of(number: int) -> Colour:
    """A colour for a class or an object: neighbours are far from each other on the colour circle."""
    hue = (0.02 + number * 0.6180339887) % 1  # the golden ratio comes near to no earlier hue soon
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6, 1)[number // 5 % 3], (1, 0.95, 0.75)[number // 5 % 3])
    return round(255 * blue), round(255 * green), round(255 * red)
