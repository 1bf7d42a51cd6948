"""Images to predict on: from files, folders, patterns, addresses, videos and cameras, one after another."""
from __future__ import annotations

import glob
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Iterator, Sequence
from urllib.parse import urlsplit

import cv2
import numpy as np

from ..checkpoints.transfer import DownloadError, open_transfer
from ..utils.errors import UserError
from ..utils.images import SUFFIXES, read_image

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')
MOST_BYTES = 64 << 20  # of an image that is fetched


@dataclass(frozen=True)
class Input:
    """What one image, video or camera is called, and where it is.

    Args:
        kind (str): 'image', 'address', 'video' or 'camera'.
        source (str): A file, an address, or the index of a camera.
        name (str): Its path among the results, with '/'; no two inputs of a run have the same.
    """

    kind: str
    source: str
    name: str

    @property
    def is_moving(self) -> bool:
        """Whether it has frames."""
        return self.kind in ('video', 'camera')


@dataclass(frozen=True)
class Frame:
    """One image of an input.

    Args:
        image (np.ndarray): (h, w, 3) uint8, BGR.
        number (int | None): Its place in a video, from 0; None for an image. Defaults to None.
        rate (float): Images per second of a video. Defaults to 0, not known.
    """

    image: np.ndarray
    number: int | None = None
    rate: float = 0.


def find_inputs(inputs: Sequence[str | Path], ignored: str | Path | None = None) -> list[Input]:
    """List what is to be predicted on.

    Args:
        inputs (Sequence[str | Path]): Each an image, a video, a folder (its images, also those in folders inside, in
            the order of their names; what begins with a dot is left out), a pattern such as 'day*/*.jpg' ('**' is for
            folders in folders), the address of an image (http, https), or the index of a camera.
        ignored (str | Path | None): A folder that is left out of other folders: that of the results. Defaults to None.

    Returns:
        list[Input]: The inputs. An image of a folder has its path inside of that as its name, any other its file's
        name; where two would have the same, all files are named by their paths from the folder that they share.

    Raises:
        UserError: If there is no such file or folder, or no image in it, or nothing that fits a pattern.
    """
    files: list[tuple[str, str]] = []  # the file, and its name
    others: list[Input] = []
    for text in map(str, inputs):
        if urlsplit(text).scheme in ('http', 'https'):
            others.append(Input('address', text, address_name(text)))
        elif text.isdigit() and not os.path.exists(text):
            others.append(Input('camera', text, f'camera{text}.mp4'))
        else:
            files += find_files(text, ignored)
    files = list({os.path.abspath(file): (file, name) for file, name in files}.values())
    if max(Counter(name for _, name in files).values(), default=1) > 1:
        shared = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file, _ in files])
        files = [(file, os.path.relpath(os.path.abspath(file), shared)) for file, _ in files]
    found = [Input('video' if is_video(file) else 'image', file, Path(name).as_posix()) for file, name in files]
    taken = {one.name for one in found}
    for one in dict.fromkeys(others):
        name, number = PurePosixPath(one.name), 1
        while one.name in taken:
            number += 1
            one = Input(one.kind, one.source, f'{name.stem}_{number}{name.suffix}')
        taken.add(one.name)
        found.append(one)
    return found


def find_files(text: str, ignored: str | Path | None) -> list[tuple[str, str]]:
    """The images and videos that a path or a pattern means, each with its name; see ``find_inputs``."""
    if os.path.isdir(text):
        found = [(file, os.path.relpath(file, text)) for file in images_inside(text, ignored)]
        if not found:
            raise UserError(f"folder '{text}' has no image in it; looked for {', '.join(SUFFIXES)}, also in folders "
                            'inside; name videos one by one')
        return found
    if os.path.exists(text) or os.path.islink(text):
        return [(text, os.path.basename(text))]
    if not glob.has_magic(text):
        raise UserError(f"input '{text}' does not exist: wanted is an image, a video, a folder, a pattern, an address "
                        'that begins with http:// or https://, or the index of a camera')
    found = [(path, os.path.basename(path)) for path in sorted(glob.glob(text, recursive=True))
             if Path(path).suffix.lower() in SUFFIXES + VIDEO_SUFFIXES and os.path.isfile(path)]
    if not found:
        raise UserError(f"pattern '{text}' fits no image and no video")
    return found


def images_inside(folder: str, ignored: str | Path | None) -> Iterator[str]:
    """The images in a folder and in the folders inside it, in the order of their names."""
    left_out = os.path.realpath(ignored) if ignored is not None else None
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.')
                            and os.path.realpath(os.path.join(path, name)) != left_out)
        yield from (os.path.join(path, name) for name in sorted(names)
                    if Path(name).suffix.lower() in SUFFIXES and not name.startswith('.'))


def is_video(file: str) -> bool:
    """Whether the name of a file is that of a video."""
    return Path(file).suffix.lower() in VIDEO_SUFFIXES


def address_name(address: str) -> str:
    """The name of the image at an address: the last part of its path, with the suffix of an image."""
    name = PurePosixPath(urlsplit(address).path).name or 'image'
    return name if PurePosixPath(name).suffix.lower() in SUFFIXES else f'{name}.jpg'


def read_frames(one: Input) -> Iterator[Frame]:
    """Read the image of an input, or its images one after another.

    Raises:
        OSError: If it cannot be read; the message names it, and says why.
    """
    if one.kind == 'image':
        yield Frame(read_image(one.source))
    elif one.kind == 'address':
        yield Frame(fetch_image(one.source))
    else:
        yield from read_video(one)


def fetch_image(address: str) -> np.ndarray:
    """Fetch the image at an address, (h, w, 3) uint8 in BGR; raises an OSError that names it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'image{PurePosixPath(address_name(address)).suffix}'
        try:
            with open(path, 'wb') as file, open_transfer(address) as answer:
                for chunk in answer.chunks(MOST_BYTES):
                    file.write(chunk)
        except DownloadError as error:
            raise OSError(f"image '{address}' cannot be fetched: {error}") from error
        try:
            return read_image(path)
        except OSError as error:
            raise OSError(str(error).replace(str(path), address)) from error


def read_video(one: Input) -> Iterator[Frame]:
    """The images of a video or a camera; raises an OSError that names it if it cannot be opened, or has none."""
    if one.kind == 'video':
        if os.path.isfile(one.source) and not os.path.getsize(one.source):
            raise OSError(f"video '{one.source}' is empty")
        what, capture = f"video '{one.source}'", cv2.VideoCapture(one.source)
    else:
        what, capture = f'camera {one.source}', cv2.VideoCapture(int(one.source))
    try:
        if not capture.isOpened():
            raise OSError(f'{what} cannot be opened: ' + (
                'it is broken, or of a format that OpenCV does not read; ffmpeg -i IN OUT.mp4 makes one that it reads'
                if one.kind == 'video' else 'there is none of this index, or another program uses it'))
        rate, number = capture.get(cv2.CAP_PROP_FPS), 0
        while True:
            there, image = capture.read()
            if not there:
                break
            yield Frame(image, number, rate)
            number += 1
        if not number:
            raise OSError(f'{what} has no images that can be read')
    finally:
        capture.release()
