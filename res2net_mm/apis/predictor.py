"""A model that takes images to predictions, through its toolbox's own inferencer."""
from __future__ import annotations

import warnings
from typing import Any, Callable, Iterable, Sequence

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import nn

from ..acceleration.backends import accelerate as make_faster
from ..engine.hooks.bfloat16_features import to_float32
from ..models.parts import backbone_and_neck
from ..utils.errors import UserError
from .inferencers import build_inferencer
from .model_files import find_model
from .prediction import Prediction
from .samples import read_keypoints, to_prediction

HALF = {'float16': torch.float16, 'bfloat16': torch.bfloat16}
# What must be the same for all images of a batch, beside the shape of the input; mmdet takes any.
SIZES: dict[str, tuple[str, ...]] = dict(
    detection=(), classification=('img_shape', ), segmentation=('img_shape', 'ori_shape'),
    saliency=('img_shape', 'ori_shape'))
IN_FLOAT32 = ('detection', 'keypoints')  # whose heads make coordinates
BOX_SCORE, BOX_OVERLAP = 0.3, 0.3  # of the boxes that keypoints are looked for in: the defaults of mmpose's inferencer
CROPS = 32  # of objects, that go through a pose estimator at once


class Predictor:
    """A model with its weights, ready for images.

    Args:
        model (str): As for :func:`~res2net_mm.apis.find_model`: a config, the name of one of ours or of
            public weights, or 'demo'.
        checkpoint (str | None): Its checkpoint. Defaults to None: the weights that are public or come with the package.
        device (str | None): 'cpu', 'cuda' or 'cuda:INDEX'. Defaults to None: a GPU if there is one.
        amp (str | None): 'float16' (on a GPU) or 'bfloat16': compute in mixed precision. Heads of detectors and pose
            estimators stay in float32. Defaults to None.
        accelerate (str | None): A backend of :func:`res2net_mm.accelerate`. Defaults to None: the model as it is.
        detector (str | None): For keypoints, the model that finds the objects. Defaults to None: an image
                is one object.
        detector_checkpoint (str | None): Its checkpoint. Defaults to None, as for ``checkpoint``.

    Attributes:
        task (str): One of ``TASKS``.
        classes (tuple[str]): Names of the classes.
        name (str): The name of the config.
        files (ModelFiles): Its config and checkpoint.
        model (nn.Module): The model.
        detector (Predictor | None): What finds the objects.
        inference (Inference): The toolbox's inferencer, and what is known of the dataset.

    Raises:
        UserError: If there is no such model, its files cannot be read or do not fit, its toolbox is not installed, or
            an argument does not suit it.
    """

    def __init__(self, model: str, checkpoint: str | None = None, device: str | None = None, amp: str | None = None,
                 accelerate: str | None = None, detector: str | None = None,
                 detector_checkpoint: str | None = None) -> None:
        self.device = find_device(device)
        files = find_model(model, checkpoint)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # the inferencers' own: of weights that are loaded here, and of palettes
            self.inference = build_inferencer(files, str(self.device))
        self.name, self.files = files.name, files
        self.task = self.inference.task
        self.classes: tuple[str, ...] = tuple(self.inference.meta.get('classes') or ())
        self.amp, self.accelerate = amp, accelerate
        self._autocast: torch.dtype | None = None
        if accelerate:
            self._accelerate(accelerate, amp)
        if amp:
            self._use_mixed_precision(amp)
        self.detector: Predictor | None = None
        if detector:
            if self.task != 'keypoints' or self._is_bottom_up:
                raise UserError(f"detector '{detector}': a detector is for top-down pose estimators, and {self.name} "
                                f'is a model for {self.task}')
            self.detector = Predictor(detector, detector_checkpoint, device, amp, accelerate)
            if self.detector.task != 'detection':
                raise UserError(f"detector '{detector}' is a model for {self.detector.task}")
        elif detector_checkpoint:
            raise UserError(f"detector checkpoint '{detector_checkpoint}': there is no detector for it")

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.inference.inferencer.model

    @property
    def _is_bottom_up(self) -> bool:
        return self.task == 'keypoints' and self.inference.inferencer.cfg.data_mode != 'topdown'

    def __call__(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict, in one batch.

        Args:
            images (Sequence[np.ndarray]): (h, w, 3) uint8, BGR, of any sizes that the model's test pipeline takes.

        Returns:
            list[Prediction]: One for each image, in pixels of the image.
        """
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        if self.task == 'keypoints':
            return self._find_keypoints(images, sizes)
        if self.inference.grey:
            images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]
        samples = self._run(self.inference.prepare(image) for image in images)
        return [to_prediction(self.task, sample, size, self.classes) for sample, size in zip(samples, sizes)]

    def _run(self, inputs: Iterable[dict]) -> list[Any]:
        """Data samples of prepared images; those of one size together."""
        groups: dict[Any, list[tuple[int, dict]]] = {}
        for number, data in enumerate(inputs):
            sizes = (data['inputs'].shape, *(data['data_samples'].metainfo.get(name) for name in SIZES[self.task]))
            groups.setdefault(sizes if SIZES[self.task] else None, []).append((number, data))
        samples: dict[int, Any] = {}
        for group in groups.values():
            batch = self.inference.collate([data for _, data in group])
            samples.update(zip((number for number, _ in group), self._forward(batch)))
        return [samples[number] for number in sorted(samples)]

    def _forward(self, data: Any, **options: Any) -> list[Any]:
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None), \
                DefaultScope.overwrite_default_scope(self.inference.scope):
            return self.inference.inferencer.forward(data, **options)

    def _find_keypoints(self, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> list[Prediction]:
        """Keypoints in the boxes of each image; the boxes of all images go through the model together."""
        inferencer, meta = self.inference.inferencer, self.inference.meta
        inputs, owners = [], []
        for number, (image, boxes) in enumerate(zip(images, self._find_boxes(images))):
            info = dict(img=image, img_path=f'{number}.jpg', **meta)
            for box in boxes:
                more = {} if self._is_bottom_up else dict(bbox=box[None, :4], bbox_score=box[4:])
                inputs.append(inferencer.pipeline({**info, **more}))
                owners.append(number)
        samples: list[Any] = []
        most = 1 if self._is_bottom_up else CROPS
        for start in range(0, len(inputs), most):
            samples += self._forward(self.inference.collate(inputs[start:start + most]), merge_results=False)
        skeleton = tuple((int(a), int(b)) for a, b in meta['skeleton_links'])
        return [read_keypoints([sample for sample, owner in zip(samples, owners) if owner == number], size,
                               self.classes, meta['num_keypoints'], skeleton) for number, size in enumerate(sizes)]

    def _find_boxes(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each image (n, 5) float32: the boxes of objects, and their scores; the whole image without a detector."""
        if self.detector is None:
            return [np.array([[0, 0, image.shape[1], image.shape[0], 1]], np.float32) for image in images]
        from mmpose.evaluation.functional import nms
        wanted = set(self.classes) & set(self.detector.classes)  # of a detector of other objects, all
        found = []
        for prediction in self.detector(images):
            prediction = prediction.select(BOX_SCORE, tuple(wanted) or None)
            assert prediction.boxes is not None and prediction.scores is not None
            boxes = np.concatenate([prediction.boxes, prediction.scores[:, None]], axis=1)
            found.append(boxes[nms(boxes, BOX_OVERLAP)])
        return found

    def _accelerate(self, backend: str, amp: str | None) -> None:
        if amp and backend != 'triton':
            raise UserError(f'accelerate={backend!r} computes in float32: it cannot be had together with amp={amp!r}')
        try:
            self.inference.inferencer.model = make_faster(self.model, backend)
        except (ValueError, ModuleNotFoundError, RuntimeError) as error:
            raise UserError(str(error)) from error

    def _use_mixed_precision(self, amp: str) -> None:
        if amp not in HALF:
            raise UserError(f'amp={amp!r} must be one of {", ".join(HALF)}')
        if amp == 'float16' and self.device.type == 'cpu':
            raise UserError("amp='float16' is for GPUs; on the CPU there is amp='bfloat16'")
        if self.task not in IN_FLOAT32:
            self._autocast = HALF[amp]
            return
        for module in backbone_and_neck(self.model):
            module.forward = in_half_precision(module.forward, self.device.type, HALF[amp])


def find_device(name: str | None) -> torch.device:
    """The device of a name; None is a GPU if there is one.

    Raises:
        UserError: If there is no such device.
    """
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
    except RuntimeError as error:
        raise UserError(f'device={name!r}: must be cpu, cuda or cuda:INDEX') from error
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f'device={name!r}: there is no such CUDA device')
    return device


def in_half_precision(forward: Callable, device: str, dtype: torch.dtype) -> Callable:
    """A module's forward, computed in half precision, that returns float32."""
    def compute(*inputs: Any, **named_inputs: Any) -> Any:
        with torch.autocast(device, dtype):
            return to_float32(forward(*inputs, **named_inputs))
    return compute
