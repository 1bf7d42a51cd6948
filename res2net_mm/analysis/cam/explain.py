"""Grad-CAM of a model of any toolbox: which parts of a photo one of its decisions comes from.

Source: paper section 4.5. The maps are made by the package ``grad-cam``; this module brings models of the toolboxes to
it. What a map explains is one number of the model's output:

* classifier: the logit of a class;
* segmentor: the sum of the logits of a class over the pixels where the model predicts it;
* detector: the score of a detection, as the detector returns it. The gradient goes through the whole detector, its
  non-maximum suppression too, so this needs no knowledge of the heads: one-stage, two-stage and cascaded detectors
  are alike. Where boxes come from is taken as given.

Maps are in the frame of the network's input: the photo as the test pipeline resizes and crops it.
"""
import copy
import difflib
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Optional
from unittest import mock

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ...checkpoints.loading import adapt_classifier, unwrap
from ...datasets.checks.configs import dataset_class, leaves
from ...models.pretrained import read_weights
from ...utils.images import read_image

UNUSABLE = ('AblationCAM', 'FullGrad', 'ShapleyCAM')  # they take the model apart, or need its second derivatives

# What a map explains.


class Answer(NamedTuple):
    """What a model says of a photo, and can be asked to explain.

    Attributes:
        label (int): The class.
        score (float): Classifier, detector: the class's probability. Segmentor: its share of the pixels.
        target (Callable): Takes the model's output for one image to the number that is explained.
        outline (np.ndarray | None): (h, w) bool, what to draw a line around: the box, or the pixels of the class.
    """

    label: int
    score: float
    target: callable
    outline: Optional[np.ndarray] = None


class Classifier(nn.Module):
    """An mmpretrain model as grad-cam takes it: (n, 3, h, w) -> logits (n, classes)."""

    method = 'GradCAM'

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return self.model(batch, mode='tensor')

    def answer(self, output, label=None, region=None):
        """The answer for one image's output: of a class, or of the most likely; a region tells nothing here."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        label = int(output.argmax()) if label is None else label
        return Answer(label, output.softmax(0)[label].item(), ClassifierOutputTarget(label))


class Segmentor(nn.Module):
    """An mmseg model as grad-cam takes it: (n, 3, h, w) -> logits (n, classes, h, w)."""

    method = 'HiResCAM'

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        logits = self.model.encode_decode(batch, [dict(img_shape=batch.shape[2:])] * len(batch))
        # A single logit is that of the foreground, against a background of 0.
        return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)

    def answer(self, output, label=None, region=None):
        """The answer for one image's output: of a class, or of the most frequent but the first (background).

        Returns None if no pixel (of the region) is predicted as the class.
        """
        from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
        predicted = output.argmax(0).cpu().numpy()
        if label is None:
            counts = np.bincount(predicted.ravel(), minlength=len(output))
            label = int(counts[1:].argmax()) + 1 if counts[1:].any() else 0
        mask = predicted == label
        if region is not None:
            mask &= region
        if not mask.any():
            return None
        return Answer(label, mask.mean().item(), SemanticSegmentationTarget(label, mask.astype(np.float32)), mask)


class Detector(nn.Module):
    """An mmdet model as grad-cam takes it: (n, 3, h, w) -> for each image its detections in the frame of the input."""

    method = 'HiResCAM'

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.sample = None  # of the photo: what the detector wants to know of it

    def forward(self, batch):
        samples = [copy.deepcopy(self.sample) for _ in batch]
        with scores_keep_gradients():
            return [sample.pred_instances for sample in self.model.predict(batch, samples, rescale=False)]

    def answer(self, output, label=None, region=None):
        """The answer for one image's output: the best detection, of a class, or on the box of a region.

        Returns None if there is no such detection.
        """
        found = torch.ones_like(output.labels, dtype=torch.bool) if label is None else output.labels == label
        if region is not None:
            rows, columns = np.nonzero(region)
            box = output.bboxes.new_tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            found &= overlaps(output.bboxes, box)
        if not found.any():
            return None
        best = torch.where(found, output.scores, -1).argmax()
        label, box = int(output.labels[best]), output.bboxes[best].detach()
        left, top, right, bottom = box.round().int().tolist()
        outline = np.zeros(self.sample.img_shape[:2], bool)
        outline[max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)] = True
        return Answer(label, output.scores[best].item(), DetectionTarget(label, box), outline)


@contextmanager
def scores_keep_gradients():
    """Have mmdet's dense heads predict without cutting the gradient, which one function does for all of them."""
    from mmdet.models.utils import select_single_mlvl

    def differentiable(tensors, index, detach=True):
        return select_single_mlvl(tensors, index, detach=False)

    users = [module for name, module in sys.modules.items() if name.startswith('mmdet.models')
             and vars(module).get('select_single_mlvl') is select_single_mlvl]
    with ExitStack() as stack:
        for module in users:
            stack.enter_context(mock.patch.object(module, 'select_single_mlvl', differentiable))
        yield


class DetectionTarget:
    """The best score among the detections of a class that overlap a box with an IoU of at least 0.5; 0 without any."""

    def __init__(self, label, box):
        self.label = label
        self.box = box

    def __call__(self, output):
        scores = output.scores[(output.labels == self.label) & overlaps(output.bboxes, self.box)]
        return scores.max() if len(scores) else output.scores.sum() * 0


def overlaps(boxes, box):
    from torchvision.ops import box_iou
    return box_iou(boxes.detach(), box[None])[:, 0] >= 0.5


TASKS = {'mmpretrain': Classifier, 'mmseg': Segmentor, 'mmdet': Detector}


# A model, and its maps.


class Seen(NamedTuple):
    """A photo as the network gets it.

    Attributes:
        picture (np.ndarray): (h, w, 3) uint8, BGR, after the test pipeline's resizing and cropping.
        batch (Tensor): (1, 3, H, W), normalised, and padded below and to the right.
        sample (object): The toolbox's data sample of it.
    """

    picture: np.ndarray
    batch: torch.Tensor
    sample: object


class Subject:
    """A trained model whose decisions are to be explained.

    Args:
        config (str): A config of mmpretrain, mmdet or mmseg.
        checkpoint (str): A checkpoint of the whole model; for a classifier also public ImageNet weights of any layout.
        target_layer (str | None): Name of the module whose output is weighted. Defaults to None, the last block of
            the backbone's last stage.
        method (str | None): Name of a class of ``grad-cam``. Defaults to None: 'GradCAM' for a classifier,
            'HiResCAM' for the others.
        device (str): Where to run. Defaults to 'cpu'.

    Raises:
        OSError, ValueError, ModuleNotFoundError: If a file cannot be read, the two do not fit, or there is no such
            layer or method; the message names it.
    """

    def __init__(self, config, checkpoint, target_layer=None, method=None, device='cpu'):
        from ...utils.config import load_config
        self.name = Path(config.rpartition('::')[2]).stem
        cfg = load_config(config)
        scope = cfg.get('default_scope')
        if scope not in TASKS:
            raise ValueError(f"config '{config}' is one of {scope}; maps are made of models of {', '.join(TASKS)}")
        self.method = find_method(method or TASKS[scope].method)
        init_default_scope(scope)
        settings = cfg.model
        if cfg.get('data_preprocessor'):
            settings.setdefault('data_preprocessor', cfg.data_preprocessor)  # as mmengine's Runner does
        self.model = MODELS.build(settings)
        meta = load_weights(self.model, config, checkpoint, scope)
        self.model.to(device).eval().requires_grad_(False)
        self.task = TASKS[scope](self.model)

        dataset = leaves(cfg.test_dataloader.dataset)[0]
        self.load, *rest = [step for step in dataset.pipeline if 'Annotations' not in step['type']]
        self.load, self.prepare = Compose([self.load]), Compose(rest)
        of_dataset = getattr(dataset_class(dataset, scope), 'METAINFO', {}), dataset.get('metainfo') or {}
        self.classes = list(next((info['classes'] for info in (meta, *of_dataset[::-1]) if info.get('classes')), []))

        self.layer_name = target_layer or last_block(self.model, device)
        self.layer = find_layer(self.model, self.layer_name)
        self.outputs = []
        self.layer.register_forward_hook(self._start_graph)

    def _start_graph(self, layer, inputs, output):
        """Have gradients end at the layer: nothing before it has to be remembered or differentiated."""
        if isinstance(output, torch.Tensor):
            output = output.detach().requires_grad_().clone()  # a clone, because what follows may change it in place
        self.outputs.append(output)
        return output

    def see(self, photo):
        """Send a photo through the test pipeline."""
        read_image(photo)  # says what is wrong with it
        packed = self.prepare(self.load(dict(img_path=str(photo), img_id=0)))
        data = self.model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
        return Seen(packed['inputs'].permute(1, 2, 0).numpy(), data['inputs'], data['data_samples'][0])

    def region(self, photo, box):
        """Where in the network's input a box of the photo lies.

        A picture of the box goes through the test pipeline, so that nothing has to be known of its steps.

        Args:
            photo (str | Path): The photo.
            box (Sequence[float]): x, y, width and height in its pixels.

        Returns:
            np.ndarray: (h, w) bool.
        """
        results = self.load(dict(img_path=str(photo), img_id=0))
        x, y, w, h = (int(round(value)) for value in box)
        results['img'] = np.zeros_like(results['img'])
        results['img'][y:y + max(h, 1), x:x + max(w, 1)] = 255
        return self.prepare(results)['inputs'][0].numpy() > 127

    def explain(self, seen, label=None, region=None):
        """Make the map of one decision.

        Args:
            seen (Seen): The photo.
            label (int | None): The class to explain. Defaults to None, what the model sees most clearly.
            region (np.ndarray | None): (h, w) bool, the box of the object that a detector or segmentor is asked about.
                Defaults to None, the whole picture.

        Returns:
            tuple[np.ndarray, Answer] | tuple[None, None]: The map, (h, w) of 0 to 1 in the frame of ``seen.picture``,
            and what it explains; None if the model does not see such an object.

        Raises:
            ValueError: If the target layer gives no map for this decision.
        """
        h, w = seen.picture.shape[:2]
        self.task.sample = seen.sample
        if region is not None:  # to the size of the padded input
            region = np.pad(region, [(0, padded - side) for padded, side in zip(seen.batch.shape[2:], (h, w))])
        self.outputs.clear()
        output = self.task(seen.batch)[0]
        answer = self.task.answer(output, label, region)
        if answer is None:
            return None, None
        self._check_layer(answer.target(output))
        self.outputs.clear()
        cam = self.method(self.task, [self.layer])
        try:
            heat = cam(seen.batch, [answer.target])[0, :h, :w]
        finally:
            cam.activations_and_grads.release()
            self.outputs.clear()
        return heat, answer

    def _check_layer(self, explained):
        wrong = None
        if len(self.outputs) != 1:
            wrong = f'runs {len(self.outputs)} times for a photo, not once'
        elif not isinstance(self.outputs[0], torch.Tensor) or self.outputs[0].dim() != 4:
            wrong = 'does not return a map (n, c, h, w)'
        elif (not explained.requires_grad
              or torch.autograd.grad(explained, self.outputs[0], allow_unused=True)[0] is None):
            wrong = 'has no part in what is explained'
        if wrong:
            raise ValueError(f"--target-layer {self.layer_name}: this layer of '{self.name}' {wrong}")

    def label(self, name):
        """The index of a class that is given by name or index, as text."""
        if name in self.classes:
            return self.classes.index(name)
        if name.isdigit() and (not self.classes or int(name) < len(self.classes)):
            return int(name)
        near = difflib.get_close_matches(name, self.classes, n=5, cutoff=0.5)
        few = ', '.join(self.classes[:10])
        hint = f'near are {", ".join(near)}' if near else f'it has {len(self.classes)}: {few}, ...'
        raise ValueError(f"--class {name}: '{self.name}' has no such class; {hint}")

    def class_name(self, label):
        return str(self.classes[label]).split(',')[0] if label < len(self.classes) else f'class {label}'


def find_method(name):
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise ModuleNotFoundError("maps need the package grad-cam: pip install 'res2net_mm[analysis]'") from error
    methods = {name: method for name, method in vars(pytorch_grad_cam).items() if isinstance(method, type)
               and issubclass(method, pytorch_grad_cam.base_cam.BaseCAM) and name not in UNUSABLE}
    if name not in methods:
        raise ValueError(f'--method {name}: must be one of {", ".join(sorted(methods))}')
    return methods[name]


def find_layer(model, name):
    layers = dict(model.named_modules())
    if name not in layers:
        near = difflib.get_close_matches(name, layers, n=5, cutoff=0.4)
        near = f'near are {", ".join(near)}' if near else f'it is made of {", ".join(dict(model.named_children()))}'
        raise ValueError(f'--target-layer {name}: the model has no such layer; {near}')
    return layers[name]


def last_block(model, device):
    """Name the last block of the backbone's last stage: the module that returns the last of the backbone's outputs."""
    returned, hooks = {}, []

    def keep(name):
        return lambda module, inputs, output: returned.update({name: output})

    for name, module in model.backbone.named_modules():
        if name:
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, 64, 64, device=device))
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


def load_weights(model, config, checkpoint, scope):
    """Load a checkpoint strictly; return what it says of its data set, such as the names of the classes."""
    stored = read_weights(checkpoint)
    meta = stored.get('meta') or {}
    state, _ = unwrap(stored)
    if scope == 'mmpretrain':
        adapt_classifier(state)
    try:
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint '{checkpoint}' does not fit config '{config}': {error}"[:1500]) from error
    return meta.get('dataset_meta') or {}
