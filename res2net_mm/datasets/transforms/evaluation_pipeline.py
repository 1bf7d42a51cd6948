"""The pipeline of a set to evaluate on, which names the images that it cannot use or puts others in their place."""
from __future__ import annotations

import os
from typing import Any

import numpy as np
from mmengine.dataset import Compose

from ...utils.images import BAD_IMAGE, image_shape, max_pixels
from ..checks.built import BuiltSplit, with_wrapped
from ..checks.loading import annotated_size, image_decoder
from ..checks.problems import BadDataError

STAND_IN = (256, 256)  # height and width of the grey image that stands for a bad one
OPTION = '; to count it as wrong and go on, use --bad-images count-as-wrong'


def guard_evaluation(split: BuiltSplit) -> None:
    """Have the pipelines of a set that is evaluated deal with images that cannot be used; goes before ``check_splits``.

    Args:
        split (BuiltSplit): The set; whether its bad images are fatal says what becomes of them. Its datasets are
            changed in place.
    """
    option = OPTION if split.name == 'test' else ''
    for dataset in dict.fromkeys([*split.datasets, *with_wrapped(getattr(split.dataloader, 'dataset', None))]):
        pipeline = getattr(dataset, 'pipeline', None)
        if isinstance(pipeline, Compose) and (
                split.bad_images_are_fatal or any(map(image_decoder, pipeline.transforms))):
            dataset.pipeline = EvaluationPipeline(pipeline, not split.bad_images_are_fatal, option)


class EvaluationPipeline(Compose):
    """A pipeline that names an image that it cannot use in one sentence, or puts a grey one in its place.

    The sample of a grey image says in its metainfo, under ``BAD_IMAGE``, what is wrong with the file, so that its
    prediction can be counted as wrong (``CountBadImages``).

    Args:
        pipeline (Compose): The pipeline of a dataset.
        replace (bool): Put a grey image in the place of a bad one, instead of raising an error. Defaults to False.
        advice (str): The end of the error's message. Defaults to ''.

    Attributes:
        known_defects (dict[str, str]): What is wrong with images, by path, that were checked before the run.
    """

    def __init__(self, pipeline: Compose, replace: bool = False, advice: str = '') -> None:
        super().__init__(pipeline.transforms)
        self.replace = replace
        self.advice = advice
        self.known_defects: dict[str, str] = {}

    def __call__(self, data: dict) -> dict | None:
        """Make a sample of what a dataset knows of an image.

        Raises:
            BadDataError: If a transform fails, and if nothing can be put in the place of the image.
        """
        given = dict(data)  # transforms add to it
        defect = self.known_defects.get(given.get('img_path', '')) if self.replace else None
        if defect is None:
            try:
                return super().__call__(data)
            except Exception as error:
                defect = f'cannot be used: {type(error).__name__}: {error}'.splitlines()[0]
        if not self.replace:
            raise BadDataError(f'{name_image(given)} {defect}{self.advice}')
        try:
            return self.stand_in(given, defect)
        except Exception as error:  # the image was not what is wrong
            raise BadDataError(f'{name_image(given)} {defect}; nor can a grey image take its place: '
                               f'{type(error).__name__}: {error}') from error

    def stand_in(self, given: dict, defect: str) -> dict | None:
        """The sample of a grey image, marked with what is wrong with the image whose place it takes."""
        data: Any = given
        for transform in self.transforms:
            data = grey_image(data, transform) if image_decoder(transform) else transform(data)
        samples = data['data_samples']
        for sample in samples if isinstance(samples, list) else [samples]:  # several for test-time augmentation
            sample.set_metainfo({BAD_IMAGE: f'{name_image(given)} {defect}'})
        return data


def name_image(given: dict) -> str:
    """The path of an image."""
    return str(given.get('img_path', 'an image'))


def grey_image(given: dict, loader: Any) -> dict:
    """What a loading transform would return for a grey image.

    It is small: nothing is predicted of it. But its ``ori_shape`` is that of its annotations, as metrics expect it.
    """
    shape = STAND_IN if loader.color_type.startswith('grayscale') else (*STAND_IN, 3)
    image = np.full(shape, 128, np.float32 if loader.to_float32 else np.uint8)
    return {**given, 'img': image, 'img_shape': STAND_IN, 'ori_shape': annotated_shape(given)}


def annotated_shape(given: dict) -> tuple[int, int]:
    """Height and width of an image by its annotations: their numbers, or else the size of its mask."""
    size, mask = annotated_size(given), given.get('seg_map_path')
    if size is None and isinstance(mask, str) and os.path.isfile(mask):
        size = image_shape(mask)
    return size if size and size[0] * size[1] <= max_pixels() else STAND_IN
