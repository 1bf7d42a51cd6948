"""Grad-CAM of a model of any toolbox: which parts of an image one of its decisions comes from.

Source: paper section 4.5. The maps are made by the package ``grad-cam``; this module brings models of the toolboxes to
it. What a map explains is one number of the model's output (``targets.py``):

* classifier: the logit of a class;
* segmentor: the sum of the logits of a class over the pixels where the model predicts it;
* detector: the score of a detection, as the detector returns it. The gradient goes through the whole detector, its
  non-maximum suppression too, so this needs no knowledge of the heads: one-stage, two-stage and cascaded detectors
  are alike. Where boxes come from is taken as given.

Maps are in the frame of the network's input: the image as the test pipeline resizes and crops it.
"""
from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ...datasets.checks.configs import leaves, transforms_without_annotations
from ...models.whole_model import load_weights
from ...utils.config import config_name, load_config
from ...utils.config_types import config_class
from ...utils.images import file_defect
from ...utils.text import did_you_mean, shorten
from .targets import TASKS, Answer

UNUSABLE = ('AblationCAM', 'FullGrad', 'ShapleyCAM')  # they take the model apart, or need its second derivatives


@dataclass(frozen=True)
class InputImage:
    """An image as the network gets it.

    Attributes:
        image (np.ndarray): (h, w, c), after the test pipeline's resizing and cropping; usually uint8, three are BGR.
        batch (Tensor): (1, in_channels, H, W), normalised, and padded below and to the right.
        sample (BaseDataElement): The toolbox's data sample of it.
    """

    image: np.ndarray
    batch: Tensor
    sample: BaseDataElement


class ExplainedModel:
    """A trained model whose decisions are to be explained.

    Args:
        config (str): A config of mmpretrain, mmdet or mmseg.
        checkpoint (str): A checkpoint of the whole model; for a classifier also public ImageNet weights of any layout.
        target_layer (str | None): Name of the module whose output is weighted. Defaults to None, the last block of
            the backbone's last stage.
        method (str | None): Name of a class of ``grad-cam``. Defaults to None: 'GradCAM' for a classifier,
            'HiResCAM' for the others.
        device (str | torch.device): Where to run. Defaults to 'cpu'.

    Raises:
        OSError, ValueError, ModuleNotFoundError: If a file cannot be read, the two do not fit, or there is no such
            layer or method; the message names it.
    """

    def __init__(self, config: str, checkpoint: str, target_layer: str | None = None, method: str | None = None,
                 device: str | torch.device = 'cpu') -> None:
        self.name = config_name(config)
        self.config, self.checkpoint = config, checkpoint
        cfg = load_config(config)
        scope = cfg.get('default_scope')
        if scope not in TASKS:
            raise ValueError(f"config '{config}' is one of {scope}; maps are made of models of {', '.join(TASKS)}")
        self.method = find_cam_method(method or TASKS[scope].method)
        init_default_scope(scope)
        settings = cfg.model
        if cfg.get('data_preprocessor'):
            settings.setdefault('data_preprocessor', cfg.data_preprocessor)  # as mmengine's Runner does
        self.model = MODELS.build(settings)
        meta = load_weights(self.model, config, checkpoint, scope)
        self.model.to(device).eval().requires_grad_(False)
        self.task = TASKS[scope](self.model)

        first, *rest = transforms_without_annotations(cfg)
        self.load, self.prepare = Compose([first]), Compose(rest)
        dataset = leaves(cfg.test_dataloader.dataset)[0]
        sources = (meta, dataset.get('metainfo') or {}, getattr(config_class(dataset, DATASETS, scope), 'METAINFO', {}))
        self.classes: list[str] = list(next((info['classes'] for info in sources if info.get('classes')), []))

        self.layer_name: str | None = None
        self.outputs: list[Tensor] = []
        if target_layer:
            self._watch(target_layer)

    def _watch(self, layer_name: str) -> None:
        """Choose the layer whose output is weighted."""
        self.layer = find_layer(self.model, layer_name)
        self.layer.register_forward_hook(self._start_graph)
        self.layer_name = layer_name

    def _start_graph(self, layer, inputs, output):
        """Have gradients end at the layer: nothing before it has to be remembered or differentiated."""
        if isinstance(output, torch.Tensor):
            output = output.detach().requires_grad_().clone()  # a clone, because what follows may change it in place
        self.outputs.append(output)
        return output

    def prepare_image(self, path: str | Path) -> InputImage:
        """Send an image through the test pipeline.

        Raises:
            OSError: If the file cannot be read; the message says what is wrong with it.
            ValueError: If the data_preprocessor refuses the image: for its number of channels, say.
        """
        packed = self.prepare(self._load_image(path))
        image = packed['inputs']
        with self._naming_config('its data_preprocessor', image):
            data = self.model.data_preprocessor(dict(inputs=[image], data_samples=[packed['data_samples']]))
        return InputImage(image.permute(1, 2, 0).numpy(), data['inputs'], data['data_samples'][0])

    @contextmanager
    def _naming_config(self, part: str, images: Tensor) -> Iterator[None]:
        """Say in an error of PyTorch which part of the model refuses what the config makes of an image."""
        try:
            yield
        except (IndexError, RuntimeError, AssertionError) as error:
            raise ValueError(f"config '{self.config}': {part} refuses the image that its test pipeline makes, of the "
                             f'shape {tuple(images.shape)}: {error}') from error

    def _load_image(self, path: str | Path) -> dict:
        """Load an image as the config does: grey, in colours, or with more channels."""
        defect = file_defect(str(path))
        try:
            loaded = None if defect else self.load(dict(img_path=str(path), img_id=0))
        except Exception as error:  # whatever the loading transform of a config may raise
            raise OSError(f"image '{path}' cannot be read: not an image, or of an unknown format ({error})") from error
        if loaded is None:
            raise OSError(f"image '{path}' {defect or 'cannot be read: not an image, or of an unknown format'}")
        return loaded

    def box_region(self, path: str | Path, box: Sequence[float]) -> np.ndarray:
        """Where in the network's input a box of the image lies.

        Drawings of the box, and of no box and a box all over, go through the test pipeline, so that nothing has to be
        known of its steps, not even how they normalise.

        Args:
            path (str | Path): The image.
            box (Sequence[float]): x, y, width and height in its pixels.

        Returns:
            np.ndarray: (h, w) bool.
        """
        loaded = self._load_image(path)
        x, y, w, h = (int(round(value)) for value in box)
        black, white = np.zeros_like(loaded['img']), np.full_like(loaded['img'], 255)
        drawn = black.copy()
        drawn[y:y + max(h, 1), x:x + max(w, 1)] = 255
        none, region, everywhere = (
            self.prepare({**copy.deepcopy(loaded), 'img': image})['inputs'][0].double().numpy()
            for image in (black, drawn, white))
        return region - none > (everywhere - none) / 2

    def explain(self, prepared: InputImage, label: int | None = None,
                region: np.ndarray | None = None) -> tuple[np.ndarray, Answer] | tuple[None, None]:
        """Make the map of one decision.

        Args:
            prepared (InputImage): The image, as ``prepare_image`` returns it.
            label (int | None): The class to explain. Defaults to None, what the model sees most clearly.
            region (np.ndarray | None): (h, w) bool, the box of the object that a detector or segmentor is asked about.
                Defaults to None, the whole image.

        Returns:
            tuple[np.ndarray, Answer] | tuple[None, None]: The map, (h, w) of 0 to 1 in the frame of
            ``prepared.image``, and what it explains; None if the model does not see such an object.

        Raises:
            ValueError: If the target layer gives no map for this decision.
        """
        h, w = prepared.image.shape[:2]
        self.task.sample = prepared.sample
        if region is not None:  # to the size of the padded input
            region = np.pad(region, [(0, padded - side) for padded, side in zip(prepared.batch.shape[2:], (h, w))])
        with self._naming_config('the model', prepared.batch):
            if self.layer_name is None:
                self._watch(last_block_name(self.model, prepared.batch))
            self.outputs.clear()
            output = self.task(prepared.batch)[0]
        answer = self.task.answer(output, label, region)
        if answer is None:
            return None, None
        self._check_layer(answer.target(output))
        self.outputs.clear()
        cam = self.method(self.task, [self.layer])
        try:
            heat = cam(prepared.batch, [answer.target])[0, :h, :w]
        finally:
            cam.activations_and_grads.release()
            self.outputs.clear()
        return heat, answer

    def _check_layer(self, explained):
        wrong = None
        if len(self.outputs) != 1:
            wrong = f'runs {len(self.outputs)} times for an image, not once'
        elif not isinstance(self.outputs[0], torch.Tensor) or self.outputs[0].dim() != 4:
            wrong = 'does not return a map (n, c, h, w)'
        elif (not explained.requires_grad
              or torch.autograd.grad(explained, self.outputs[0], allow_unused=True)[0] is None):
            wrong = 'has no part in what is explained'
        if wrong:
            raise ValueError(f"--target-layer {self.layer_name}: this layer of '{self.name}' {wrong}")

    def class_index(self, name: str) -> int:
        """The index of a class that is given by name, or by index as text.

        Raises:
            ValueError: If there is no such class; the message suggests some.
        """
        if name in self.classes:
            return self.classes.index(name)
        if name.isdigit() and (not self.classes or int(name) < len(self.classes)):
            return int(name)
        hint = did_you_mean(name, self.classes, cutoff=0.5) or f'there are {shorten(self.classes, 10)}'
        raise ValueError(f"--class {name}: '{self.name}' has no such class; {hint}")

    def class_name(self, label: int) -> str:
        """The first name of a class, 'class INDEX' if the names are not known."""
        return str(self.classes[label]).split(',')[0] if label < len(self.classes) else f'class {label}'


def find_cam_method(name: str) -> type:
    """The class of the package ``grad-cam`` with this name.

    Raises:
        ModuleNotFoundError: If the package is not installed.
        ValueError: If it has no such method that can be used; the message lists those that can.
    """
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise ModuleNotFoundError("maps need the package grad-cam: pip install 'res2net_mm[analysis]'") from error
    methods = {name: method for name, method in vars(pytorch_grad_cam).items() if isinstance(method, type)
               and issubclass(method, pytorch_grad_cam.base_cam.BaseCAM) and name not in UNUSABLE}
    if name not in methods:
        raise ValueError(f'--method {name}: must be one of {", ".join(sorted(methods))}')
    return methods[name]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """The layer of a model with this name.

    Raises:
        ValueError: If there is none; the message suggests some.
    """
    layers = dict(model.named_modules())
    if name not in layers:
        hint = did_you_mean(name, layers, cutoff=0.4) or f'it is made of {", ".join(dict(model.named_children()))}'
        raise ValueError(f'--target-layer {name}: the model has no such layer; {hint}')
    return layers[name]


def last_block_name(model: nn.Module, images: Tensor) -> str:
    """Name of the last block of the last stage: the module that returns the last of the backbone's outputs.

    Args:
        model (nn.Module): A model with a ``backbone``.
        images (Tensor): What the backbone is given, (n, in_channels, h, w), where the model is.

    Raises:
        ValueError: If no module returns that output.
    """
    returned, hooks = {}, []

    def keep(name):
        return lambda module, inputs, output: returned.update({name: output})

    for name, module in model.backbone.named_modules():
        if name:
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        features = model.backbone(images)
    for hook in hooks:
        hook.remove()
    last = features if isinstance(features, torch.Tensor) else features[-1]
    makers = [name for name, output in returned.items() if output is last]
    if not makers:
        raise ValueError(f'{type(model.backbone).__name__}: no module returns its last output; name a layer with '
                         '--target-layer')
    name = min(makers, key=lambda name: name.count('.'))
    block = model.backbone.get_submodule(name)
    while isinstance(block, nn.Sequential):
        name, block = f'{name}.{len(block) - 1}', block[-1]
    return f'backbone.{name}'
