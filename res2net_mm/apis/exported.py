"""A model from a file that ``export`` wrote, run without PyTorch and OpenMMLab.

NumPy, OpenCV, Pillow for classifiers, and ONNX Runtime or OpenVINO are enough.
TorchScript's and torch.export's files need PyTorch, too.
"""
from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, List

import numpy as np

from ..utils.errors import UserError
from ..utils.openvino_core import openvino_core
from .masks import paste_masks
from .prediction import Prediction, keypoint_scores
from .preparation import enlarge_maps, prepare_image, transform_points

SPEC_KEY = 'res2net_mm'  # under which a file keeps what it says of itself
Runner = Callable[[np.ndarray], List[np.ndarray]]  # images to outputs


class Exported:
    """An exported model.

    Args:
        file (str | Path): What ``export`` wrote: .onnx, OpenVINO's .xml, TorchScript's .pt or torch.export's .pt2; the
            last two need PyTorch.
        threads (int | None): How many threads it runs on. Defaults to None, one for each physical core.

    Attributes:
        spec (dict): What the file says of itself: ``task``, ``classes``, ``skeleton``, ``preprocess``, ``outputs``,
            ``input``, ``version``.

    Raises:
        UserError: If the file is not there or not one that ``export`` wrote, or a package is missing.
    """

    def __init__(self, file: str | Path, threads: int | None = None) -> None:
        file = Path(file)
        if file.suffix not in OPENERS:
            raise UserError(f"file '{file}': must end with {', '.join(OPENERS)}")
        if not file.is_file():
            raise UserError(f"file '{file}' does not exist")
        try:
            self.run, spec = OPENERS[file.suffix](file, threads)
        except ModuleNotFoundError as error:
            raise UserError(f"file '{file}': {error.name} is not installed: pip install {error.name}") from error
        except Exception as error:  # each library has its own
            raise UserError(f"file '{file}' cannot be read: {str(error).strip()[:300]}") from error
        if not spec:
            raise UserError(f"file '{file}' says nothing of its images: it was not written by export")
        self.spec: dict[str, Any] = json.loads(spec)
        if self.spec['task'] == 'backbone':
            raise UserError(f"file '{file}' is a backbone, which predicts nothing: run it with its library")
        resize = self.spec['preprocess']['resize']
        if self.spec['input'] == 'prepared' and resize and resize['library'] == 'pillow' and not find_spec('PIL'):
            raise UserError(f"file '{file}' has images resized by Pillow: pip install pillow")

    def __call__(self, image: np.ndarray, boxes: np.ndarray | None = None) -> Prediction:
        """Predict.

        Args:
            image (np.ndarray): (h, w, 3) uint8, B, G, R.
            boxes (np.ndarray | None): (n, 4) or with scores (n, 5), for keypoints: left, top, right, bottom of every
                object. Defaults to None, one box, the whole image.

        Returns:
            Prediction: In pixels of the image.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError('the image must be an array (h, w, 3) of uint8')
        found = PREDICTORS[self.spec['task']](self, image, boxes)
        return Prediction(self.spec['task'], image.shape[:2], tuple(self.spec['classes']),
                          skeleton=tuple(map(tuple, self.spec['skeleton'])), **found)

    def outputs(self, image: np.ndarray, box: np.ndarray | None = None) -> tuple[dict[str, np.ndarray], Any]:
        """What the model gives for an image, by name, without the batch, and the prepared image.

        That is None where the graph prepares the image, and its outputs are in pixels of the image.
        """
        prepared = None if self.spec['input'] == 'image' else prepare_image(image, self.spec['preprocess'], box)
        outs = self.run((image if prepared is None else prepared.array)[None])
        return dict(zip(self.spec['outputs'], outs)), prepared


def predict_classes(model: Exported, image: np.ndarray, boxes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Labels and scores of all classes, the surest first."""
    scores = model.outputs(image)[0]['scores'][0]
    labels = np.argsort(-scores, kind='stable')
    return dict(labels=labels, scores=scores[labels])


def predict_segments(model: Exported, image: np.ndarray, boxes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The class of every pixel."""
    outs, prepared = model.outputs(image)
    logits = outs['logits'][0]
    if prepared:
        logits = enlarge_maps(logits, prepared, image.shape[:2], model.spec['align_corners'])
    classes = logits.argmax(0) if len(logits) > 1 else logits[0] > model.spec['threshold']
    return dict(segmentation=classes.astype(np.uint8 if len(model.spec['classes']) <= 256 else np.uint16))


def predict_saliency(model: Exported, image: np.ndarray, boxes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The saliency of every pixel; a map is enlarged as logits, as mmseg does it."""
    outs, prepared = model.outputs(image)
    found = outs['saliency']
    if prepared and found.shape[1:] != image.shape[:2]:
        clipped = np.clip(found, 1e-7, 1 - 1e-7)
        logits = enlarge_maps(np.log(clipped) - np.log1p(-clipped), prepared, image.shape[:2], False)
        found = 1 / (1 + np.exp(-logits))
    return dict(saliency=found[0].astype(np.float32))


def predict_keypoints(model: Exported, image: np.ndarray, boxes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The keypoints in every box; the score of an object is its box's times the mean of its visible keypoints'."""
    given = np.asarray([[0, 0, image.shape[1], image.shape[0]]] if boxes is None else boxes, np.float32)
    if given.ndim != 2 or given.shape[1] not in (4, 5):
        raise UserError(f'boxes of shape {given.shape} must be (n, 4), or (n, 5) with their scores')
    keypoints = np.zeros((0, model.spec['keypoints'], 3), np.float32)
    if len(given):
        prepared = [prepare_image(image, model.spec['preprocess'], box) for box in given[:, :4]]
        keypoints = model.run(np.stack([one.array for one in prepared]))[0].copy()
        for points, one in zip(keypoints, prepared):
            points[:, :2] = transform_points(points[:, :2], one.to_image)
    scores = keypoint_scores(keypoints, given[:, 4] if given.shape[1] == 5 else None)
    order = np.argsort(-scores, kind='stable')
    return dict(labels=np.zeros(len(given), np.int64), scores=scores[order], boxes=given[order, :4],
                keypoints=keypoints[order])


def predict_objects(model: Exported, image: np.ndarray, boxes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Boxes, scores and labels, and masks where there are any."""
    outs, prepared = model.outputs(image)
    if prepared:
        corners = transform_points(outs['boxes'].reshape(-1, 2, 2), prepared.to_image)
        outs['boxes'] = corners.reshape(-1, 4).astype(np.float32)
    if 'masks' in outs:
        outs['masks'] = paste_masks(outs['masks'], outs['boxes'], image.shape[:2], model.spec['threshold'])
    return outs


PREDICTORS: dict[str, Callable] = dict(classification=predict_classes, segmentation=predict_segments,
                                    saliency=predict_saliency, keypoints=predict_keypoints, detection=predict_objects)


# What opens a file: its runner, and the text of its specification.


def open_onnx(file: Path, threads: int | None) -> tuple[Runner, str]:
    """An ONNX file in ONNX Runtime."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    spec = session.get_modelmeta().custom_metadata_map.get(SPEC_KEY, '')
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images}), spec


def open_openvino(file: Path, threads: int | None) -> tuple[Runner, str]:
    """A file of OpenVINO, in float32 also where the processor has bfloat16."""
    model = openvino_core().read_model(file)
    spec = model.get_rt_info(SPEC_KEY).astype(str) if model.has_rt_info(SPEC_KEY) else ''
    settings = dict(INFERENCE_PRECISION_HINT='f32', **(dict(INFERENCE_NUM_THREADS=threads) if threads else {}))
    compiled = openvino_core().compile_model(model, 'CPU', settings)
    return lambda images: list(compiled([images]).values()), spec


def open_torchscript(file: Path, threads: int | None) -> tuple[Runner, str]:
    """A file of TorchScript, in PyTorch."""
    import torch
    found: dict[str, Any] = {SPEC_KEY: ''}
    module = torch.jit.load(str(file), map_location='cpu', _extra_files=found)
    return torch_runner(module, threads), str(found[SPEC_KEY], 'utf-8') if found[SPEC_KEY] else ''


def open_pt2(file: Path, threads: int | None) -> tuple[Runner, str]:
    """A file of torch.export, in PyTorch."""
    import torch
    found = {SPEC_KEY: ''}
    program = torch.export.load(str(file), extra_files=found)
    return torch_runner(program.module(), threads), found[SPEC_KEY]


def torch_runner(module: Any, threads: int | None) -> Runner:
    """What runs a module of PyTorch; the number of threads is that of the whole process."""
    import torch
    if threads:
        torch.set_num_threads(threads)

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [out.numpy() for out in module(torch.from_numpy(images))]

    return run


OPENERS: dict[str, Callable] = {'.onnx': open_onnx, '.xml': open_openvino, '.pt': open_torchscript, '.pt2': open_pt2}
