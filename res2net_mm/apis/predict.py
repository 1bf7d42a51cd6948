"""Predict on images, folders, videos and cameras: one result after another, which may be written as they come."""
from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generator, Iterator, Sequence

import cv2
import numpy as np
import torch

from ..utils.config import load_config
from ..utils.errors import UserError
from ..utils.text import did_you_mean, shorten
from .coco_results import image_ids, to_records
from .drawing import SCORE, draw_prediction
from .inferencers import one_line
from .inputs import Frame, Input, find_inputs, read_frames
from .outputs import PROGRESS, Pictures, Progress, write_json
from .prediction import Prediction
from .predictor import Predictor


@dataclass(frozen=True)
class Result:
    """What was found in one image, or why there is nothing.

    Args:
        input (Input): What the image is, or is of: ``name``, ``source`` and ``kind``.
        frame (int | None): Its place in a video, from 0. Defaults to None: no video.
        image (np.ndarray | None): (h, w, 3) uint8, BGR; None if it cannot be read.
        prediction (Prediction | None): What the model says; None if it cannot be read, or the model fails on it.
        error (str): What is wrong with it. Defaults to '', nothing.
        picture (Path | None): The file where it is drawn. Defaults to None.
    """

    input: Input
    frame: int | None = None
    image: np.ndarray | None = None
    prediction: Prediction | None = None
    error: str = ''
    picture: Path | None = None


@dataclass(frozen=True)
class Step:
    """What comes from the inputs: an image, what is wrong with one, or the end of an input."""

    input: Input
    frame: Frame | None = None
    error: str = ''


def predict(model: str | Predictor, inputs: str | Path | Sequence[str | Path], *, checkpoint: str | None = None,
            device: str | None = None, batch_size: int = 1, amp: str | None = None, accelerate: str | None = None,
            detector: str | None = None, detector_checkpoint: str | None = None, out: str | Path | None = None,
            json: str | Path | None = None, score: float | None = None, classes: Sequence[str] | None = None,
            resume: bool = False) -> PredictionRun:
    """Predict on images, folders, patterns, addresses, videos and cameras.

    Args:
        model (str | Predictor): As for :class:`Predictor`, or one; then the arguments that make one must be left out.
        inputs (str | Path | Sequence): One or several, as for :func:`~res2net_mm.apis.inputs.find_inputs`.
        checkpoint, device, amp, accelerate, detector, detector_checkpoint: As for :class:`Predictor`.
        batch_size (int): How many images go through the model at once. Defaults to 1.
        out (str | Path | None): A folder for pictures, each at the path that its image has among the inputs; of a
            video an .mp4. Defaults to None: no pictures.
        json (str | Path | None): A file for records, which is written at the end: see
            :func:`~res2net_mm.apis.coco_results.to_records`. Defaults to None.
        score (float | None): The least score of an object. Defaults to None: 0.3 in pictures, and all in results and
            records.
        classes (Sequence[str] | None): Names of the classes to keep. Defaults to None, all.
        resume (bool): Whether to go on with a run that was interrupted. Defaults to False.

    Returns:
        PredictionRun: An iterator over a :class:`~.Result` for each image, in order, as they come. An image that cannot
        be used is one with an ``error``.

    Raises:
        UserError: If an argument cannot be used; later, if the only input is bad, or a file cannot be written.
    """
    if isinstance(model, str):
        model = Predictor(model, checkpoint, device, amp, accelerate, detector, detector_checkpoint)
    elif any((checkpoint, device, amp, accelerate, detector, detector_checkpoint)):
        raise UserError('predict: what makes a Predictor is given to the Predictor')
    return PredictionRun(model, [inputs] if isinstance(inputs, (str, Path)) else inputs, batch_size, out, json, score,
                         classes, resume)


class PredictionRun:
    """An iterator over the results of a run; see :func:`~.predict` for the arguments.

    Attributes:
        predictor (Predictor): The model.
        inputs (list[Input]): All inputs.
        skipped (int): How many an earlier run has done.
        bad (int): How many inputs could not be used so far.
    """

    def __init__(self, predictor: Predictor, inputs: Sequence[str | Path], batch_size: int = 1,
                 out: str | Path | None = None, json: str | Path | None = None, score: float | None = None,
                 classes: Sequence[str] | None = None, resume: bool = False) -> None:
        if batch_size < 1:
            raise UserError(f'batch size {batch_size}: must be 1 or more')
        check_class_names(classes, predictor)
        self.predictor = predictor
        self.inputs = find_inputs(inputs, out)
        self.bad = 0
        self.score, self.classes = score, None if classes is None else tuple(classes)
        self._batch_size = batch_size
        self._pictures = Pictures(Path(out)) if out is not None else None
        self._json = Path(json) if json is not None else None
        self._ids = image_ids([one.name for one in self.inputs])
        self._refuse_to_overwrite()
        self._progress = self._open_progress(inputs, resume)
        self.skipped = sum(one.name in self._done for one in self.inputs)
        self._has_worked = False
        self._results: Generator[Result, None, None] = self._run()

    def __iter__(self) -> PredictionRun:
        return self

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """End the run; what is done can be gone on with, and the video of a camera is finished."""
        self._results.close()

    @property
    def _done(self) -> set[str]:
        return self._progress.done if self._progress else set()

    def _refuse_to_overwrite(self) -> None:
        pictures = self._pictures
        for one in self.inputs if pictures else ():
            if pictures and one.kind in ('image', 'video') and os.path.realpath(pictures.path(one)) == os.path.realpath(
                    one.source):
                raise UserError(f"'{one.source}' would be overwritten by its picture: choose another folder than "
                                f"'{pictures.folder}'")

    def _open_progress(self, inputs: Sequence[str | Path], resume: bool) -> Progress | None:
        """The list of what is done; the folders that results go to are made."""
        pictures = self._pictures
        if self._json:
            path = self._json.with_name(self._json.name + PROGRESS)
        elif pictures:
            path = pictures.folder / PROGRESS
        elif resume:
            raise UserError('resume: a run that writes nothing cannot be gone on with; give it out or json')
        else:
            return None
        for folder in [path.parent, *([pictures.folder] if pictures else [])]:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"folder '{folder}' cannot be made: {error.strerror}") from error
        identity = dict(model_identity(self.predictor), score=self.score, classes=self.classes and list(self.classes),
                        inputs=digest(list(map(str, inputs))), pictures=pictures and str(pictures.folder.resolve()))
        drawn = {one.name: pictures.path(one) for one in self.inputs} if pictures else {}
        return Progress(path, identity, resume, lambda name: name not in drawn or drawn[name].is_file())

    def _run(self) -> Generator[Result, None, None]:
        """Predict on batches, and write and yield what comes, in the order of the inputs."""
        waiting: list[Step] = []
        try:
            for step in self._steps():
                waiting.append(step)
                frames = sum(step.frame is not None for step in waiting)
                if frames in (0, self._batch_size):
                    yield from self._finish(waiting)
                    waiting = []
            yield from self._finish(waiting)
        except (KeyboardInterrupt, GeneratorExit) as end:  # which is how the run of a camera ends
            if not (self.inputs[-1].kind == 'camera' and self._has_worked):
                raise
            self._end_input(self.inputs[-1])
            if isinstance(end, GeneratorExit):
                self._write_json()
                raise
        finally:
            if self._pictures:
                self._pictures.drop()
            if self._progress:
                self._progress.close()
        self._write_json()

    def _steps(self) -> Iterator[Step]:
        """What the inputs give, one after another; raises a UserError if there is one input, and it is bad."""
        for one in self.inputs:
            if one.name in self._done:
                continue
            try:
                for frame in read_frames(one):
                    yield Step(one, frame)
            except (OSError, cv2.error) as error:
                if len(self.inputs) == 1:
                    raise UserError(str(error)) from error
                yield Step(one, error=str(error))
            else:
                if one.is_moving:
                    yield Step(one)  # its end

    def _finish(self, steps: list[Step]) -> Iterator[Result]:
        """The results of some steps."""
        answers = iter(self._predict([step.frame.image for step in steps if step.frame]))
        for step in steps:
            one, frame = step.input, step.frame
            if frame is None:
                if not step.error:
                    self._end_input(one)
                    continue
                self.bad += 1
                yield Result(one, error=step.error)
                continue
            answer = next(answers)
            if isinstance(answer, str):
                self.bad += 1
                where = f"'{one.source}'" + (f', image {frame.number}' if one.is_moving else '')
                yield Result(one, frame.number, frame.image, error=f'{where}: the model fails on it: {answer}')
            else:
                yield self._write(one, frame, answer)

    def _predict(self, images: list[np.ndarray]) -> list[Prediction | str]:
        """Predictions, or what went wrong; an image that the model fails on costs the others of its batch nothing."""
        if not images:
            return []
        try:
            answers: list[Prediction | str] = list(self.predictor(images))
        except UserError:
            raise
        except (MemoryError, torch.cuda.OutOfMemoryError) as error:
            raise UserError(f'there is not enough memory for {len(images)} images at once: choose a smaller batch size'
                            if len(images) > 1 else f'there is not enough memory: {one_line(str(error))}') from error
        except Exception as error:  # of any model
            if len(images) > 1:
                return [answer for image in images for answer in self._predict([image])]
            if not self._has_worked:  # then it is the model
                raise
            return [f'{type(error).__name__}: {one_line(str(error))}']
        self._has_worked = True
        return answers

    def _write(self, one: Input, frame: Frame, prediction: Prediction) -> Result:
        """Draw and write down a prediction, and make a result of it."""
        prediction = prediction.select(self.score or 0., self.classes)
        picture = None
        if self._pictures:
            drawn = draw_prediction(frame.image, prediction, SCORE if self.score is None else self.score, self.classes)
            self._pictures.write(one, frame, drawn)
            picture = self._pictures.path(one)
        if self._progress:
            records = []
            if self._json:
                name = self._ids[one.name] if frame.number is None else f'{one.name}#{frame.number}'
                records = [record for record in to_records(prediction, name)
                           if not self.classes or record.get('category', 'salient') in (*self.classes, 'salient')]
            if records or not one.is_moving:
                self._progress.add(one.name, records, done=not one.is_moving)
        return Result(one, frame.number, frame.image, prediction, picture=picture)

    def _end_input(self, one: Input) -> None:
        """A video is whole."""
        if self._pictures:
            self._pictures.finish(one)
        if self._progress:
            self._progress.add(one.name, [], done=True)

    def _write_json(self) -> None:
        """Write the records of all that is done; where nothing is left to do, nothing is left of the progress."""
        if self._progress is None:
            return
        if self._json:
            write_json(self._json, self._progress.records())
        if not self.bad:
            self._progress.path.unlink()


def check_class_names(classes: Sequence[str] | None, predictor: Predictor) -> None:
    """Raise a UserError that suggests names if one of ``classes`` is none of the model's."""
    for name in classes or ():
        if name not in predictor.classes:
            raise UserError(f"class '{name}' is none of {predictor.name}; " + (
                did_you_mean(name, predictor.classes) or f'there are {shorten(predictor.classes, 20)}'))


def model_identity(predictor: Predictor) -> dict[str, Any]:
    """What makes results those of one model: its files and settings, and the same of its detector."""
    checkpoint = predictor.files.checkpoint
    if os.path.isfile(checkpoint):
        state = os.stat(checkpoint)
        checkpoint = f'{os.path.abspath(checkpoint)}, {state.st_size} bytes of {state.st_mtime_ns}'
    detector = predictor.detector
    return dict(model=predictor.name, config=digest(load_config(predictor.files.config).to_dict()),
                checkpoint=checkpoint, amp=predictor.amp, accelerate=predictor.accelerate,
                detector=detector and digest(model_identity(detector)))


def digest(value: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
