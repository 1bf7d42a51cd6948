"""Image files: found, checked, and read whole or not at all."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

import cv2
import numpy as np
from PIL import Image

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')


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
        OSError: If it is missing, empty, cut off, or not an image.
    """
    defect = file_defect(str(path))
    image = None if defect else cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise OSError(f"image '{path}' {defect or 'cannot be read: not an image, or of an unknown format'}")
    return image


def file_defect(path: str) -> str | None:
    """What is wrong with the file of an image or mask, or None.

    Reads the two ends of the file, and the rest if they are odd.

    Args:
        path (str): The file; one that is not local, such as 's3://...', is taken for good.
    """
    if ':' in path:
        return None
    if not os.path.isfile(path):
        return 'does not exist'
    with open(path, 'rb') as file:
        start = file.read(2)
        file.seek(max(0, os.path.getsize(path) - 32))
        end = file.read()
    if not start:
        return 'is empty'
    marker = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}.get(start)  # of JPEG and PNG
    if marker and marker in end or not path.lower().endswith(('.jpg', '.jpeg', '.png')):
        return None
    try:  # cameras and programs write things after the end, which is harmless
        with Image.open(path) as image:
            image.load()
    except Exception as error:
        return f'is cut off or broken: {error}'
    return None


def image_shape(path: str | Path) -> tuple[int, int]:
    """Height and width of an image in pixels, as it is loaded."""
    with Image.open(path) as image:
        turned = image.format == 'JPEG' and image.getexif().get(0x0112, 1) >= 5  # OpenCV turns it when it loads it
        return image.size if turned else image.size[::-1]
