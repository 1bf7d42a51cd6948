"""What the page asks its models: a result, a map of where it comes from, and how long that took."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Callable, Sequence

import cv2
import numpy as np
from PIL import Image

from ..apis.prediction import Prediction
from ..utils.errors import UserError
from ..utils.images import image_defect, max_pixels, read_header, read_image, write_image
from ..utils.text import number_duplicates, shorten

if TYPE_CHECKING:
    from ..analysis.cam.explain import ExplainedModel
    from ..apis.predictor import Predictor

SIDE = 2048  # pixels: larger images are made smaller, or the masks of a hundred objects would fill the memory
UNEXPLAINED = ('keypoints', )  # tasks that have no Grad-CAM
TOP_CLASSES = 5  # of a classifier, in words


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Args:
        megabytes (float): Of a file. Defaults to 20.
        megapixels (float): Of an image, as its header says, before it is decoded. Defaults to 50.
        seconds (float): For an answer. Defaults to 60.
    """

    megabytes: float = 20.
    megapixels: float = 50.
    seconds: float = 60.


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        model (str): The name of a model on the page.
        file (str): An image file.
        score (float): The least score of an object that is drawn.
        explain (bool): Whether a map is wanted.
    """

    model: str
    file: str
    score: float
    explain: bool


@dataclass(frozen=True)
class Map:
    """Where a result comes from.

    Attributes:
        picture (np.ndarray | None): (h, w, 3) uint8 RGB, the map over the image as the network gets it; None if there
            is none.
        text (str): What it explains, or why there is none.
        times (dict[str, float]): Milliseconds by step. Defaults to none.
    """

    picture: np.ndarray | None
    text: str
    times: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What the page shows.

    Attributes:
        picture (np.ndarray): (h, w, 3) uint8 RGB, with the result drawn on it.
        text (str): The result in words.
        map (Map | None): Where it comes from; None if that was not asked.
        times (dict[str, float]): Milliseconds by step.
    """

    picture: np.ndarray
    text: str
    map: Map | None
    times: dict[str, float]


@dataclass
class Analysis:
    """What is known of the image that was asked about last."""

    image: np.ndarray
    prediction: Prediction
    times: dict[str, float]
    map: Map | None = None


@dataclass
class PageModel:
    """A model of the page."""

    predictor: Predictor
    config: str
    checkpoint: str
    explained: ExplainedModel | None = field(default=None)


@dataclass(frozen=True)
class LoadModels:
    """What a ``Worker`` starts with: it loads the models.

    Args:
        models (Sequence[tuple[str, str | None]]): Their names, as ``find_model`` takes them, and checkpoints.
        limits (Limits): What the page takes.
        device (str): Where to run.
        trust (bool): Whether checkpoints may run the code that is in them. Defaults to False.
    """

    models: Sequence[tuple[str, str | None]]
    limits: Limits
    device: str
    trust: bool = False

    def __call__(self) -> tuple[Callable[[Question], Reply], dict[str, str]]:
        """What answers questions, and the models' tasks by their names.

        Raises:
            UserError: If a model cannot be found or loaded; the message names it.
        """
        from ..apis.predictor import Predictor
        from ..checkpoints.files import install_reader
        install_reader(trust=self.trust)
        predictors = [Predictor(*model, device=self.device) for model in self.models]
        names = number_duplicates([predictor.name for predictor in predictors])
        models = {name: PageModel(predictor, predictor.files.config, predictor.files.checkpoint)
                  for name, predictor in zip(names, predictors)}
        return Respondent(models, self.limits, self.device), {
            name: model.predictor.task for name, model in models.items()}


class Respondent:
    """Answers questions about images, and remembers the last image, so that another score is only another drawing.

    Args:
        models (dict[str, PageModel]): The models by their names on the page.
        limits (Limits): What an image may be.
        device (str): Where maps are made.
    """

    def __init__(self, models: dict[str, PageModel], limits: Limits, device: str) -> None:
        self.models, self.limits, self.device = models, limits, device
        self.last: tuple[object, Analysis] | None = None

    def __call__(self, question: Question) -> Reply:
        """The answer to a question.

        Raises:
            UserError: If the image cannot be used; the message says why.
        """
        from ..apis.drawing import draw_prediction
        model = self.models[question.model]
        key = (question.model, question.file, *stamp(question.file))
        if self.last is None or self.last[0] != key:
            self.last = None  # so that two are never in memory
            self.last = key, analyse(model.predictor, read_upload(question.file, self.limits))
        analysis = self.last[1]
        if question.explain and analysis.map is None:
            analysis.map = self._explain(model, analysis)
        start = perf_counter()
        picture = draw_prediction(analysis.image, analysis.prediction, score=question.score)
        times = {**analysis.times, 'drawing': 1000 * (perf_counter() - start)}
        shown = analysis.map if question.explain else None
        return Reply(picture[..., ::-1].copy(), describe(analysis.prediction, question.score), shown,
                     {**times, **(shown.times if shown else {})})

    def _explain(self, model: PageModel, analysis: Analysis) -> Map:
        if model.predictor.task in UNEXPLAINED:
            return Map(None, f'There is no Grad-CAM of models for {model.predictor.task}.')
        from ..analysis.cam.explain import ExplainedModel
        try:
            if model.explained is None:
                model.explained = ExplainedModel(model.config, model.checkpoint, device=self.device)
            return explain_image(model.explained, analysis.image)
        except (ValueError, ModuleNotFoundError) as error:
            return Map(None, f'There is no Grad-CAM: {error}.')


def stamp(file: str) -> tuple[int, int]:
    """What tells whether a file is another one; zeros without a file."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def read_upload(file: str, limits: Limits) -> np.ndarray:
    """Read an image that somebody has uploaded.

    Returns:
        np.ndarray: (h, w, 3) uint8, BGR, its longer side not more than ``SIDE`` pixels.

    Raises:
        UserError: If it is gone, too large, damaged or not an image; the message names it without its folder.
    """
    name = Path(file).name
    if not Path(file).is_file():
        raise UserError(f"image '{name}' is no longer here: upload it again")
    if Path(file).stat().st_size > limits.megabytes * 1e6:
        raise UserError(f"image '{name}' has {Path(file).stat().st_size / 1e6:.1f} MB, and {limits.megabytes:g} MB are "
                        'the most that this page takes')
    try:
        header = read_header(file)
        pixels = f'{header.size[1]} x {header.size[0]}' if header else ''
        too_many = header is not None and header.size[0] * header.size[1] > limits.megapixels * 1e6
    except Image.DecompressionBombError:
        header, pixels, too_many = None, f'more than {2 * max_pixels():,}', True
    if too_many:
        raise UserError(f"image '{name}' has {pixels} pixels, and {limits.megapixels:g} million are the most that this "
                        'page takes')
    defect = image_defect(file) or (None if header else 'is not an image, or of an unknown format')
    if defect:
        raise UserError(f"image '{name}' {defect}")
    try:
        image = read_image(file)
    except OSError as error:
        raise UserError(str(error).replace(file, name)) from error
    ratio = SIDE / max(image.shape[:2])
    return image if ratio >= 1 else cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)


def analyse(predictor: Predictor, image: np.ndarray) -> Analysis:
    """Predict, and measure what it takes.

    Args:
        predictor (Predictor): The model.
        image (np.ndarray): (h, w, 3) uint8, BGR.
    """
    calls: list[float] = []
    hooks = [predictor.model.register_forward_pre_hook(lambda *_: calls.append(perf_counter())),
             predictor.model.register_forward_hook(lambda *_: calls.append(perf_counter()))]
    start = perf_counter()
    try:
        prediction, = predictor([image])
    finally:
        for hook in hooks:
            hook.remove()
    end = perf_counter()
    first = calls[0] if calls else start
    return Analysis(image, prediction, {'preprocessing': 1000 * (first - start), 'model': 1000 * (end - first)})


def explain_image(model: ExplainedModel, image: np.ndarray) -> Map:
    """The map of what a model sees most clearly in an image.

    Args:
        model (ExplainedModel): The model.
        image (np.ndarray): (h, w, 3) uint8, BGR.

    Raises:
        ValueError: If there is no map of this model.
    """
    from pytorch_grad_cam.utils.image import show_cam_on_image

    from ..analysis.cam.figure import displayed
    start = perf_counter()
    with TemporaryDirectory() as folder:  # config's transforms load from files
        file = Path(folder) / 'image.png'
        write_image(file, image, durable=False)
        prepared = model.prepare_image(file)
    heat, answer = model.explain(prepared)
    milliseconds = 1000 * (perf_counter() - start)
    if heat is None or answer is None:
        return Map(None, 'The model sees no object, so there is nothing to explain.')
    scale = max(image.shape) / max(heat.shape)  # as large as the result beside it
    shown = cv2.resize(show_cam_on_image(displayed(prepared.image), heat, use_rgb=True), None, fx=scale, fy=scale)
    if answer.outline is not None:
        outline = answer.outline[:heat.shape[0], :heat.shape[1]].astype(np.uint8)
        outline = cv2.resize(outline, shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(shown, contours, -1, (255, 255, 255), max(1, round(max(shown.shape) / 400)))
    what = f'{model.class_name(answer.label)} ({answer.score:.2f})'
    return Map(shown, f'Red is where the score of {what} comes from ({model.method.__name__}).',
               {'Grad-CAM': milliseconds})


def describe(prediction: Prediction, score: float) -> str:
    """A prediction in words.

    Args:
        prediction (Prediction): It.
        score (float): The least score of an object that counts; a classifier's classes all do.
    """
    names = prediction.classes
    if prediction.saliency is not None:
        return f'{(prediction.saliency >= 0.5).mean():.0%} of the image are salient.'
    if prediction.segmentation is not None:
        labels, counts = np.unique(prediction.segmentation, return_counts=True)
        order = np.argsort(-counts, kind='stable')
        shares = [f'{names[labels[i]]} {counts[i] / counts.sum():.1%}' for i in order]
        return f'Shares of the image: {shorten(shares, 8)}.'
    if prediction.labels is None or prediction.scores is None:
        return ''
    if prediction.task == 'classification':
        best = [f'{names[label]} {value:.1%}' for label, value in
                zip(prediction.labels[:TOP_CLASSES], prediction.scores[:TOP_CLASSES])]
        return f'Most likely: {", ".join(best)}.'
    labels, counts = np.unique(prediction.select(score).labels, return_counts=True)
    found = [f'{count} {names[label]}' for label, count in zip(labels, counts)]
    return f'Found with a score of {score:.2f} or more: {shorten(found, 8) if found else "nothing"}.'
