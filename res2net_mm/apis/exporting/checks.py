"""An exported file beside the toolbox's model, on real images."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import TRANSFORMS
from torch import Tensor

from ...datasets.checks.configs import transforms_without_annotations
from ...models.parts import backbone_and_neck
from ...utils.config_types import ancestors, config_class
from ..exported import OPENERS, Exported
from ..preparation import prepare_image
from .detector_checks import OBJECT_TOLERANCES, compare_objects, reference_objects
from .loading import ModelToExport

TOLERANCE = 1e-4


@dataclass
class ExportCheck:
    """How a file compares with PyTorch.

    Attributes:
        file (Path): The file.
        images (int): How many images were compared.
        errors (dict[str, float]): By output, the largest difference of all images, relative to the largest absolute
            value of that output; for a detector what ``compare_objects`` says.
        tolerances (dict[str, float]): What is allowed, by output; what is not in it may be ``TOLERANCE``.
    """

    file: Path
    images: int = 0
    errors: dict[str, float] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every error is within the tolerance."""
        return all(error <= self.tolerances.get(name, TOLERANCE) for name, error in self.errors.items())

    def rows(self) -> list[tuple[str, str, str]]:
        """For each output its name, its error, and what is allowed, as text."""
        return [(name, f'{error:.1e}', f'{self.tolerances.get(name, TOLERANCE):.0e}')
                for name, error in self.errors.items()]


def check_file(loaded: ModelToExport, file: Path, spec: dict[str, Any], images: Sequence[np.ndarray]) -> ExportCheck:
    """Compare a file with the toolbox's model, each with its own preprocessing, image by image.

    Args:
        loaded (ModelToExport): The model.
        file (Path): What was written of it.
        spec (dict): What the file says of itself.
        images (Sequence[np.ndarray]): (h, w, 3) uint8, B, G, R.

    Raises:
        UserError: If the package that runs the file is missing.
    """
    check = ExportCheck(file, len(images))
    if not images:
        return check
    if spec['task'] == 'detection':
        return check_objects(loaded, file, images)
    run, _ = OPENERS[file.suffix](file, torch.get_num_threads())
    for image in images:
        found = run(image[None] if spec['input'] == 'image' else prepare_image(image, spec['preprocess']).array[None])
        wanted = toolbox_outputs(loaded, image, spec)
        for name, ours, theirs in zip(spec['outputs'], found, wanted):
            check.errors[name] = max(check.errors.get(name, 0.), relative_difference(ours, theirs.numpy()))
    return check


def check_objects(loaded: ModelToExport, file: Path, images: Sequence[np.ndarray]) -> ExportCheck:
    """Compare the objects that a file finds with those of the toolbox's detector; arguments as of ``check_file``."""
    check = ExportCheck(file, len(images), tolerances=OBJECT_TOLERANCES)
    exported = Exported(file, torch.get_num_threads())
    for image in images:
        batch = toolbox_batch(loaded, image)
        wanted = reference_objects(loaded.model, batch['inputs'], batch['data_samples'], loaded.classes)
        for name, error in compare_objects(exported(image), wanted).items():
            check.errors[name] = max(check.errors.get(name, 0.), error)
    return check


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest absolute value; infinite where shapes differ."""
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float('inf')
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))


def toolbox_outputs(loaded: ModelToExport, image: np.ndarray, spec: dict[str, Any]) -> list[Tensor]:
    """What the toolbox's model gives for an image, by its own transforms and preprocessor, for each output of a file.

    Args:
        loaded (ModelToExport): The model.
        image (np.ndarray): (h, w, 3) uint8, B, G, R.
        spec (dict): What the file says of itself.
    """
    model = loaded.model
    batch = toolbox_batch(loaded, image)
    with torch.no_grad():
        if spec['task'] == 'backbone':
            outs: Any = batch['inputs']
            for part in backbone_and_neck(model):
                outs = part(outs)
            return [outs] if isinstance(outs, Tensor) else list(outs)
        return REFERENCES[spec['task']](model, batch['inputs'], batch['data_samples'])


def toolbox_batch(loaded: ModelToExport, image: np.ndarray) -> dict[str, Any]:
    """An image as the toolbox's model takes it: ``inputs`` (1, 3, h, w) and ``data_samples``."""
    scope, size = loaded.cfg.get('default_scope'), image.shape[:2]
    steps = [step for step in transforms_without_annotations(loaded.cfg)
             if 'mmcv.LoadImageFromFile' not in ancestors(config_class(step, TRANSFORMS, scope))]
    box = np.array([[0, 0, size[1], size[0]]], np.float32)
    sample = dict(img=image, img_shape=size, ori_shape=size, img_path='', img_id=0, bbox=box,
                  bbox_score=np.ones(1, np.float32))
    with TRANSFORMS.switch_scope_and_registry(scope):
        data = Compose(steps)(sample)
    return loaded.model.data_preprocessor(pseudo_collate([data]), False)


def reference_scores(model: Any, inputs: Tensor, samples: list) -> list[Tensor]:
    """Scores of a classifier."""
    return [torch.stack([sample.pred_score for sample in model.predict(inputs, samples)])]


def reference_logits(model: Any, inputs: Tensor, samples: list) -> list[Tensor]:
    """Logits of a segmentor, at the size of its input."""
    return [model.inference(inputs, [dict(sample.metainfo, img_shape=inputs.shape[2:]) for sample in samples])]


def reference_saliency(model: Any, inputs: Tensor, samples: list) -> list[Tensor]:
    """Saliency maps, at the size of the input."""
    return [reference_logits(model, inputs, samples)[0][:, 0].sigmoid()]


def reference_keypoints(model: Any, inputs: Tensor, samples: list) -> list[Tensor]:
    """Keypoints in pixels of the input, without the flip test."""
    found = model.head.predict(model.extract_feat(inputs), samples, {})
    return [torch.cat([torch.as_tensor(np.concatenate([one.keypoints, one.keypoint_scores[..., None]], -1))
                       for one in found]).float()]


REFERENCES: dict[str, Any] = dict(classification=reference_scores, segmentation=reference_logits,
                                  saliency=reference_saliency, keypoints=reference_keypoints)
