"""What a run of predictions writes: pictures, videos and records, each whole, and a list of what is done."""
from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterator

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.images import write_image
from ..utils.whole_file import NO_SPACE, UNFINISHED, NoSpaceError, missing_space, whole_file
from .inputs import Frame, Input

PROGRESS = '.progress.jsonl'  # the list: beside the JSON file, or in the folder of the pictures
RATE = 25.  # images per second of a video whose own rate is not known


class Progress:
    """What a run has done, one JSON object a line, so that another run can go on; the records lie in it meanwhile.

    The first line says what the run is. Each of the others has the name of an input and records of it, and says whether
    the input is done. A line that was cut off is no line.

    Args:
        path (Path): The file.
        identity (dict): What the run is: of numbers, text and None.
        resume (bool): Whether to go on with the file that is there; otherwise it starts anew.
        is_there (Callable): Says of a name whether all that was written for it is still there.

    Raises:
        UserError: If the file is of another run.
    """

    def __init__(self, path: Path, identity: dict[str, Any], resume: bool, is_there: Callable[[str], bool]) -> None:
        self.path = path
        self.done: set[str] = set()
        if resume and path.is_file():
            self._go_on(identity, is_there)
        else:
            with whole_file(path) as file:
                file.write(as_line(identity))
        self._file: BinaryIO = open(path, 'ab')  # noqa: SIM115

    def _go_on(self, identity: dict[str, Any], is_there: Callable[[str], bool]) -> None:
        lines = list(read_lines(self.path))
        then = lines[0] if lines else {}
        changed = [name for name in identity if then.get(name) != identity[name]]
        if changed:
            raise UserError(f"'{self.path}' is of another run, with another {' and '.join(changed)}: repeat the "
                            'command of that run, or start anew without --resume')
        self.done = {line['name'] for line in lines[1:] if line['done'] and is_there(line['name'])}
        with whole_file(self.path) as file:  # without what was begun and not done
            file.write(as_line(identity))
            for line in lines[1:]:
                if line['name'] in self.done:
                    file.write(as_line(line))

    def add(self, name: str, records: list[dict[str, Any]], done: bool) -> None:
        """Write down records of an input, and whether it is done."""
        self._file.write(as_line(dict(name=name, records=records, done=done)))
        self._file.flush()
        if done:
            self.done.add(name)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all that is done."""
        for number, line in enumerate(read_lines(self.path)):
            if number and line['name'] in self.done:
                yield from line['records']

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()


def as_line(value: dict[str, Any]) -> bytes:
    """A line of the list."""
    return json.dumps(value, ensure_ascii=False).encode() + b'\n'


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a list up to the first that is not whole."""
    with open(path, 'rb') as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                return


def write_json(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """Write records as one JSON list, a record a line; they are not all in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(b'[')
        for number, record in enumerate(records):
            file.write((b',\n' if number else b'\n') + json.dumps(record, ensure_ascii=False).encode())
        file.write(b'\n]\n')


class Pictures:
    """Writes drawn images into a folder, those of a video as a video.

    Args:
        folder (Path): The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._video: Any = None
        self._size: tuple[int, int] | None = None
        self._unfinished: Path | None = None

    def path(self, one: Input) -> Path:
        """Where the picture or video of an input goes."""
        path = self.folder / one.name
        return path.with_name(f'{path.name}.mp4') if one.is_moving and path.suffix.lower() != '.mp4' else path

    def write(self, one: Input, frame: Frame, drawn: np.ndarray) -> None:
        """Write an image, or the next image of a video.

        Raises:
            UserError: If it cannot be written.
        """
        path = self.path(one)
        path.parent.mkdir(parents=True, exist_ok=True)
        if one.is_moving:
            self._write_frame(path, frame, drawn)
            return
        write_image(path, drawn)

    def _write_frame(self, path: Path, frame: Frame, drawn: np.ndarray) -> None:
        size = (drawn.shape[1], drawn.shape[0])
        if self._video is None:
            self._unfinished = path.with_name(f'.{path.stem}.{os.getpid()}{UNFINISHED}.mp4')
            rate = frame.rate if 0 < frame.rate < 1000 else RATE
            self._video = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter_fourcc(*'mp4v'), rate, size)
            self._size = size
            if not self._video.isOpened():
                self.drop()
                raise UserError(f"video '{path}' cannot be written: this OpenCV writes no mp4; use --json FILE")
        self._video.write(drawn if size == self._size else cv2.resize(drawn, self._size))

    def finish(self, one: Input) -> None:
        """Give the video of an input its name."""
        if self._video is None:
            return
        self._video.release()
        self._video, path = None, self.path(one)
        assert self._unfinished is not None
        if not self._unfinished.is_file() or not self._unfinished.stat().st_size:
            self.drop()
            raise NoSpaceError(NO_SPACE[0], f"'{path}' was not written: {missing_space(path.parent, None)}")
        os.replace(self._unfinished, path)

    def drop(self) -> None:
        """Delete a video that is not whole."""
        if self._video is not None:
            self._video.release()
            self._video = None
        if self._unfinished is not None:
            with suppress(OSError):
                self._unfinished.unlink()
