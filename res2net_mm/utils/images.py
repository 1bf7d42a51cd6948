"""Image files: found, looked at before they are decoded, read and written whole or not at all."""
from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from .errors import UserError
from .whole_file import whole_file

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
MAX_PIXELS = 2**28  # of an image, unless the variable says more: 0.8 GB in colour, twice a scene of Sentinel-2
MAX_PIXELS_VARIABLE = 'RES2NET_MM_MAX_PIXELS'  # of the environment, so that all processes of a run have it
MAX_ASPECT_RATIO = 200  # from some hundreds on, resizing makes a side of 0 pixels, or one of a million
BAD_IMAGE = 'bad_image'  # in the metainfo of a sample whose image stands for a bad one: what is wrong with that
ORIENTATION, TIFF_WIDTH, TIFF_HEIGHT = 0x0112, 0x0100, 0x0101  # tags of EXIF, and of TIFF
TURNED = range(5, 9)  # orientations that exchange width and height


@dataclass(frozen=True)
class Decoder:
    """How an image file is decoded, in the words of mmcv's LoadImageFromFile.

    Attributes:
        backend (str): 'cv2', 'pillow', 'turbojpeg' or 'tifffile'. Defaults to 'cv2'.
        color_type (str): 'color', 'grayscale' or 'unchanged'; the first two also with '_ignore_orientation' behind.
            Defaults to 'color'.
    """

    backend: str = 'cv2'
    color_type: str = 'color'

    def turns(self, file_format: str) -> bool:
        """Whether images of one of Pillow's formats, such as 'JPEG', are turned as their EXIF orientation says."""
        if self.backend == 'cv2':
            return opencv_turns(file_format, self.color_type)
        return self.backend == 'pillow' and self.color_type in ('color', 'grayscale')


@lru_cache(maxsize=None)
def opencv_turns(file_format: str, color_type: str) -> bool:
    """Whether the installed OpenCV turns images of a format: that changes with its version, so it is tried."""
    flag = {'color': cv2.IMREAD_COLOR, 'grayscale': cv2.IMREAD_GRAYSCALE}.get(
        color_type.partition('_')[0], cv2.IMREAD_UNCHANGED)
    if color_type.endswith('_ignore_orientation'):
        flag |= cv2.IMREAD_IGNORE_ORIENTATION
    exif, file = Image.Exif(), BytesIO()
    exif[ORIENTATION] = TURNED[1]
    try:
        Image.new('L', (2, 1)).save(file, 'JPEG' if file_format == 'MPO' else file_format, exif=exif)
    except (KeyError, OSError, ValueError):  # a format that Pillow does not write
        return False
    image = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), flag)
    return image is not None and image.shape[:2] == (2, 1)


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its image.

    Attributes:
        file_format (str): Pillow's name of its format, such as 'JPEG', 'MPO' (a camera's JPEG) or 'PNG'.
        size (tuple[int, int]): Height and width in pixels, as they are stored.
        orientation (int): Of EXIF, 1 to 8; 1 without it.
    """

    file_format: str
    size: tuple[int, int]
    orientation: int

    def decoded_size(self, decoder: Decoder) -> tuple[int, int]:
        """Height and width of the image once it is decoded."""
        return self.size[::-1] if self.is_turned(decoder) else self.size

    def is_turned(self, decoder: Decoder) -> bool:
        """Whether its EXIF orientation exchanges height and width when it is decoded."""
        return self.orientation in TURNED and decoder.turns(self.file_format)


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List images.

    Args:
        paths (Sequence[str | Path]): Files, and folders, of which the images right inside are taken by name.

    Returns:
        list[Path]: The files.

    Raises:
        OSError: If a path does not exist, or a folder has no image.
    """
    images = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            if not inside:
                raise OSError(f"folder '{path}' has no image in it; looked for {', '.join(SUFFIXES)}")
            images += inside
        elif path.is_file():
            images.append(path)
        else:
            raise FileNotFoundError(f"image '{path}' does not exist")
    return images


def read_image(path: str | Path) -> np.ndarray:
    """Read an image.

    Args:
        path (str | Path): The file.

    Returns:
        np.ndarray: (h, w, 3) uint8, BGR, turned as its EXIF data says.

    Raises:
        OSError: If it is missing, empty, cut off, too large, or not an image.
    """
    defect = image_defect(str(path))
    # imread has an error for a TIFF file with an orientation, and cannot open every name on Windows.
    image = None if defect else cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"image '{path}' {defect or 'cannot be read: not an image, or of an unknown format'}")
    return image


def write_image(path: str | Path, image: np.ndarray, quality: int | None = None, durable: bool = True) -> None:
    """Write an image, whole or not at all.

    OpenCV's ``imwrite`` raises no error where the disk is full or the folder is missing, and returns False.

    Args:
        path (str | Path): The file, whose name ends as the format does; its folder must be there.
        image (np.ndarray): (h, w) or (h, w, 3) uint8, BGR.
        quality (int | None): Of a JPEG file, 0 to 100. Defaults to None: OpenCV's, 95.
        durable (bool): As of ``whole_file``. Defaults to True.

    Raises:
        UserError: If OpenCV does not write the format, or no image of this size in it.
        OSError: If the file cannot be written, of which NoSpaceError is that there is no room for it.
    """
    path = Path(path)
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        encoded, content = cv2.imencode(path.suffix, image, options)
    except cv2.error:  # no such format
        encoded = False
    if not encoded:
        raise UserError(f"'{path}' cannot be written: OpenCV writes no {path.suffix} file of this size")
    with whole_file(path, content.nbytes, durable) as file:
        file.write(content.tobytes())


def image_shape(path: str | Path, decoder: Decoder = Decoder()) -> tuple[int, int]:
    """Height and width of an image in pixels, as it is loaded.

    Raises:
        OSError: If Pillow does not know its format.
    """
    header = read_header(str(path))
    if header is None:
        raise UnidentifiedImageError(f'cannot identify image file {str(path)!r}')
    return header.decoded_size(decoder)


def read_header(path: str) -> ImageHeader | None:
    """What a file says of its image, which is not decoded; None if it is damaged, or of no format of Pillow's.

    Raises:
        PIL.Image.DecompressionBombError: If it has more than twice the pixels that are allowed.
    """
    if Image.MAX_IMAGE_PIXELS is not None:  # a third of ours, unless somebody has set it
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels())
    try:
        with Image.open(path) as image:
            size, orientation = image.size[::-1], 1
            with suppress(Exception):  # EXIF data that is broken: OpenCV leaves it, too
                if isinstance(image, TiffImageFile):  # whose size Pillow has turned already
                    tags = image.tag_v2
                    size, orientation = (tags[TIFF_HEIGHT], tags[TIFF_WIDTH]), tags.get(ORIENTATION, 1)
                else:  # not getexif, which also takes an orientation out of XMP, as OpenCV does not
                    exif = Image.Exif()
                    exif.load(image.info.get('exif', b''))
                    orientation = exif.get(ORIENTATION, 1)
            return ImageHeader(image.format or '', size, orientation)
    except Image.DecompressionBombError:
        raise
    except Exception:  # whatever Pillow's formats raise for a damaged header
        return None


def max_pixels() -> int:
    """The number of pixels that an image may have: MAX_PIXELS, or what the environment says.

    Raises:
        UserError: If the environment says no number.
    """
    text = os.environ.get(MAX_PIXELS_VARIABLE) or str(MAX_PIXELS)
    if not text.isdigit() or not int(text):
        raise UserError(f'{MAX_PIXELS_VARIABLE}={text}: must be the number of pixels that an image may have')
    return int(text)


def file_defect(path: str) -> str | None:
    """What is wrong with the file of an image or mask, or None.

    Reads its header and its two ends, and the rest if the ends are odd. An image with too many pixels is a defect.

    Args:
        path (str): The file; one that is not local, such as 's3://...', is taken for good.
    """
    return inspect_file(path)[0]


def image_defect(path: str, size: tuple[int, int] | None = None, decoder: Decoder = Decoder()) -> str | None:
    """What is wrong with an image file, before it is decoded, or None.

    That is what ``file_defect`` finds, a format that cannot be decoded, a side of many times the other, or another
    size than it is annotated with.

    Args:
        path (str): The file; one that is not local, such as 's3://...', is taken for good.
        size (tuple[int, int] | None): Height and width that it is annotated with. Defaults to None: not known.
        decoder (Decoder): What will decode it. Defaults to OpenCV in colour.
    """
    defect, header = inspect_file(path)
    if defect or ':' in path:
        return defect
    if header is None or header.file_format not in ('JPEG', 'MPO', 'PNG'):
        defect = format_defect(path, header, decoder)
    if defect or header is None:
        return defect
    height, width = header.size
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        return (f'is {height} x {width} pixels (height x width): one side is more than {MAX_ASPECT_RATIO} times the '
                'other')
    return annotated_size_defect(header, size, decoder) if size else None


def inspect_file(path: str) -> tuple[str | None, ImageHeader | None]:
    """What is wrong with the file of an image or mask, if anything, and its header, if it can be read."""
    if ':' in path:
        return None, None
    if not os.path.isfile(path):
        if os.path.islink(path) and not os.path.exists(path):
            return f'is a link to {os.readlink(path)}, which does not exist', None
        return 'is a folder, not a file' if os.path.isdir(path) else 'does not exist', None
    try:
        with open(path, 'rb') as file:
            start = file.read(16)
            file.seek(max(0, os.path.getsize(path) - 32))
            end = file.read()
    except OSError as error:
        return f'cannot be read: {error.strerror}', None
    if not start:
        return 'is empty', None
    try:
        header = read_header(path)
    except Image.DecompressionBombError:
        return pixels_defect(f'more than {2 * max_pixels():,}'), None
    if header and header.size[0] * header.size[1] > max_pixels():
        return pixels_defect(f'{header.size[0]} x {header.size[1]} (height x width)'), header
    marker = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}.get(start[:2])  # of JPEG and PNG
    suffix = os.path.splitext(path)[1].lower()
    if header is None and marker is None and suffix in SUFFIXES and not cv2.haveImageReader(path):
        return f'is not an image: it starts with {start!r}', None
    if header is None and suffix in ('.bmp', '.webp'):  # not TIFF: there are kinds of it that Pillow does not know
        return 'is cut off or broken: it has no valid header', None
    if marker and marker in end or suffix not in ('.jpg', '.jpeg', '.png'):
        return None, header
    try:  # cameras and programs write things after the end, which is harmless
        with Image.open(path) as image:
            image.load()
    except Exception as error:
        return f'is cut off or broken: {error}', header
    return None, header


def pixels_defect(pixels: str) -> str:
    """What is wrong with an image of too many pixels."""
    return (f'has {pixels} pixels, and {max_pixels():,} are the most that are read (a small file can fill the memory '
            f'so); if it is right, say how many you need with the environment variable {MAX_PIXELS_VARIABLE}')


def format_defect(path: str, header: ImageHeader | None, decoder: Decoder) -> str | None:
    """What is wrong with the format of a file that is neither JPEG nor PNG, or None."""
    if decoder.backend != 'cv2' or cv2.haveImageReader(path):
        return None
    if header is None:
        with open(path, 'rb') as file:
            return f'is not an image, or of an unknown format: it starts with {file.read(16)!r}'
    return f'is a file of the format {header.file_format}, which OpenCV does not read: convert it, for example to PNG'


def annotated_size_defect(header: ImageHeader, size: tuple[int, int], decoder: Decoder) -> str | None:
    """What is wrong with the size of an image, or None.

    Args:
        header (ImageHeader): What its file says.
        size (tuple[int, int]): Height and width that it is annotated with.
        decoder (Decoder): What will decode it.
    """
    height, width = header.decoded_size(decoder)
    if (height, width) == tuple(size):
        return None
    message = f'is {height} x {width} pixels (height x width) and annotated as {size[0]} x {size[1]}'
    if (width, height) != tuple(size):
        return message
    if header.is_turned(decoder):
        as_stored = Decoder(decoder.backend, 'color_ignore_orientation')
        other_way = '' if header.is_turned(as_stored) else f', or load it with color_type={as_stored.color_type!r}'
        return (f'{message}: its EXIF orientation turns it; annotate the turned image, or write the image without the '
                f'tag{other_way}')
    if header.orientation in TURNED:
        return (f'{message}: its EXIF orientation, which would turn it, is not heeded for {header.file_format} with '
                f'color_type={decoder.color_type!r}; annotate the image as it is stored, or store it turned')
    return f'{message}: width and height are exchanged'
