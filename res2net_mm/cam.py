"""Where a classifier, detector or segmentor looks: Grad-CAM, side by side for several models, and as numbers.

Source: paper section 4.5 and Fig. 4, which compare ResNet-50 and Res2Net-50 by eye. The maps are made by the package
``grad-cam``; this module brings models of the toolboxes to it. What a map explains is one number of the model's output:

* classifier: the logit of a class;
* segmentor: the sum of the logits of a class over the pixels where the model predicts it;
* detector: the score of a detection, as the detector returns it. The gradient goes through the whole detector, its
  non-maximum suppression too, so this needs no knowledge of the heads: one-stage, two-stage and cascaded detectors
  are alike. Where boxes come from is taken as given.

Everything is drawn, and measured, in the frame of the network's input: the photo as the test pipeline resizes and crops
it.
"""
import argparse
import copy
import difflib
import json
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Optional
from unittest import mock

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn

from .checkpoint import find_prefix, unwrap
from .cli import choose_device, fail
from .data import dataset_class, leaves
from .photos import find_photos, read_photo

HOT = 0.2  # of the maximum: where a map is 'on', the threshold of CAM's own localisation (arXiv 1512.04150)
SIZES = {'small': 32**2, 'medium': 96**2, 'large': float('inf')}  # COCO's: most pixels of the photo
ROWS = 8  # photos on a sheet
UNUSABLE = ('AblationCAM', 'FullGrad', 'ShapleyCAM')  # they take the model apart, or need its second derivatives


# 1. What a map explains.


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


# 2. A model, and its maps.


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
        from .config import load_config
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
        read_photo(photo)  # says what is wrong with it
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
    stored = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    meta = stored.get('meta') or {}
    state, _ = unwrap(stored)
    if scope == 'mmpretrain' and not find_prefix(state):  # public ImageNet weights: the classifier is called fc
        state = {f'head.{key}' if key.startswith('fc.') else f'backbone.{key}': value for key, value in state.items()}
        if 'head.fc.weight' in state:
            state['head.fc.weight'] = state['head.fc.weight'].flatten(1)  # in DLA it is a 1×1 convolution
    try:
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"checkpoint '{checkpoint}' does not fit config '{config}': {error}"[:1500]) from error
    return meta.get('dataset_meta') or {}


# 3. Sheets.


def draw_sheet(rows, names, path):
    """Draw photos and maps side by side, as the paper's Fig. 4.

    Args:
        rows (list): For every photo a list of (picture, map, caption, outline) for every model; map and outline may be
            None.
        names (list[str]): Of the models.
        path (Path): The file to write.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    from pytorch_grad_cam.utils.image import show_cam_on_image

    width = 3
    heights = [width * max(cell[0].shape[0] / cell[0].shape[1] for cell in row) + 0.3 for row in rows]
    figure, axes = plt.subplots(len(rows), len(names) + 1, squeeze=False, layout='constrained',
                                figsize=(width * (len(names) + 1), sum(heights) + 0.3), height_ratios=heights)
    for axis in axes.flat:
        axis.axis('off')
    for line, row in zip(axes, rows):
        line[0].imshow(row[0][0][..., ::-1])
        for axis, (picture, heat, caption, outline) in zip(line[1:], row):
            picture = picture[..., ::-1].astype(np.float32) / 255
            axis.imshow(picture if heat is None else show_cam_on_image(picture, heat, use_rgb=True))
            if outline is not None:
                axis.contour(outline, levels=[0.5], colors='white', linewidths=1)
            axis.set_title(caption, fontsize=8)
    for axis, name in zip(axes[0], ['photo', *names]):
        axis.set_title('\n'.join(filter(None, [name, axis.get_title()])), fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# 4. How much of an object a map covers.


class Box(NamedTuple):
    """An object of an annotation file: its class by name, x, y, width and height, and its area in pixels."""

    category: str
    box: list
    area: float

    @property
    def size(self):
        return next(name for name, limit in SIZES.items() if self.area <= limit)


def read_boxes(path, photos):
    """Read the objects of photos from a COCO-style file.

    An object that shares its photo with another of its class is left out: a classifier's map can't be divided among
    them, and every model is to be asked about the same objects.

    Args:
        path (str | Path): The annotation file; photos are found in it by their file names.
        photos (list[Path]): The photos.

    Returns:
        dict[Path, list[Box]]: The objects of every photo.

    Raises:
        OSError, ValueError: If the file cannot be read, is of another format, or knows none of the photos.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"--boxes: '{path}' does not exist")
    try:
        content = json.loads(Path(path).read_text())
        categories = {category['id']: category['name'] for category in content['categories']}
        images = {Path(image['file_name']).name: image['id'] for image in content['images']}
        found = {image: [] for image in images.values()}
        for annotation in content['annotations']:
            found[annotation['image_id']].append((annotation, Box(
                categories[annotation['category_id']], annotation['bbox'],
                annotation.get('area') or annotation['bbox'][2] * annotation['bbox'][3])))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"--boxes: '{path}' is not in COCO's format: {type(error).__name__}: {error}") from error
    known = [photo for photo in photos if photo.name in images]
    if not known:
        raise ValueError(f"--boxes: '{path}' has none of the photos, such as {photos[0].name}")
    boxes = {}
    for photo in known:
        objects = found[images[photo.name]]
        names = [box.category for _, box in objects]
        boxes[photo] = [box for annotation, box in objects
                        if names.count(box.category) == 1 and not annotation.get('iscrowd')]
    return boxes


def cover(heat, region):
    """Say how a map lies to an object's box.

    Args:
        heat (np.ndarray): (h, w), the map.
        region (np.ndarray): (h, w) bool, the box.

    Returns:
        dict[str, float]: ``energy``, the share of the map's sum that is inside the box; ``covered``, the share of the
        box where the map is at least 20 % of its maximum. Both are 0 for an empty map.
    """
    if not heat.any():
        return dict(energy=0., covered=0.)
    return dict(energy=float(heat[region].sum() / heat.sum()), covered=float((heat[region] >= HOT * heat.max()).mean()))


def measure_photo(subjects, photo, boxes):
    """Measure how every model's maps cover the objects of a photo: a list of dicts, one for each object."""
    measured = []
    seen = [subject.see(photo) for subject in subjects]
    for box in boxes:
        record = dict(photo=photo.name, category=box.category, size=box.size, models={})
        for subject, view in zip(subjects, seen):
            region = subject.region(photo, box.box)
            if not region.any():
                continue  # cropped away
            heat, answer = subject.explain(view, subject.classes.index(box.category), region)
            result = dict(share_of_picture=float(region.mean()), found=answer is not None)
            record['models'][subject.name] = result if heat is None else {**result, **cover(heat, region)}
        if len(record['models']) == len(subjects):
            measured.append(record)
    return measured


def summarise(measured, names):
    """Means over the objects that all models found, by size: numbers for JSON."""
    common = [record for record in measured if all(record['models'][name]['found'] for name in names)]
    table = {}
    for size in ('all', *SIZES):
        of_size = [record for record in common if size in ('all', record['size'])]
        asked = [record for record in measured if size in ('all', record['size'])]
        table[size] = dict(objects=len(of_size), models={})
        for name in names:
            results = [record['models'][name] for record in of_size]
            means = {key: float(np.mean([result[key] for result in results])) if results else None
                     for key in ('share_of_picture', 'energy', 'covered')}
            missed = sum(not record['models'][name]['found'] for record in asked)
            table[size]['models'][name] = dict(**means, missed=missed)
    return table


def draw_coverage(measured, summary, names, path):
    """Draw energy and covered share over the object's size: an object is a dot, the means are in the legend."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout='constrained', width_ratios=(3, 2))
    what = dict(energy="share of the map's energy inside the box",
                covered=f'share of the box that is hot (≥ {HOT:.0%} of the maximum)')
    common = [record for record in measured if all(record['models'][name]['found'] for name in names)]
    sizes = [size for size in SIZES if summary[size]['objects']]
    smallest = min(record['models'][name]['share_of_picture'] for record in common for name in names)
    least = 10**np.floor(np.log10(smallest))
    for (left, right), (key, label) in zip(axes, what.items()):
        for i, name in enumerate(names):
            results = [record['models'][name] for record in common]
            shares = [result['share_of_picture'] for result in results]
            left.scatter(shares, [result[key] for result in results], s=14, alpha=.6, label=name)
            values = [summary[size]['models'][name][key] for size in sizes]
            places = np.arange(len(sizes)) + (i - (len(names) - 1) / 2) * .8 / len(names)
            bars = right.bar(places, values, .8 / len(names), label=name)
            right.bar_label(bars, fmt='%.2f', fontsize=8)
        left.set(xscale='log', xlim=(least, 1), ylim=(-.03, 1.03), xlabel="the box's share of the picture")
        left.set_ylabel(label)
        right.set(ylim=(0, 1.08), ylabel='mean')
        right.set_xticks(range(len(sizes)), [f'{size}\n{summary[size]["objects"]} objects' for size in sizes])
    share = np.geomspace(least, 1)
    axes[0, 0].plot(share, share, 'k:', linewidth=1, label='a map that is the same everywhere')
    axes[0, 0].legend(fontsize=8, loc='upper left')
    figure.savefig(path, dpi=110)
    plt.close(figure)


def print_coverage(summary):
    from rich.console import Console
    from rich.table import Table
    table = Table(title='How maps lie to the boxes of objects, on those that all models found')
    for head in ('size', 'objects', 'model', 'box / picture', 'energy in box', 'box covered', 'missed'):
        table.add_column(head, justify='left' if head in ('size', 'model') else 'right', overflow='fold')
    for size, row in summary.items():
        for name, means in row['models'].items():
            shown = ['-' if means[key] is None else f'{means[key]:.3f}'
                     for key in ('share_of_picture', 'energy', 'covered')]
            table.add_row(size, str(row['objects']), name, *shown, str(means['missed']))
        table.add_section()
    # Where the output is no terminal, rich takes it for a narrow one.
    Console(width=None if sys.stdout.isatty() else 120).print(table)


# 5. The command.


def main(argv=None):
    """Draw and measure maps: the command ``tools/cam.py``."""
    parser = argparse.ArgumentParser(description='Show where a classifier, detector or segmentor looks (Grad-CAM).')
    parser.add_argument('config', help="config file, or one that a package ships: 'res2net_mm::NAME.py'")
    parser.add_argument('checkpoint', help='checkpoint of the whole model; for a classifier also ImageNet weights')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='photos, or folders of them')
    parser.add_argument('--compare', nargs=2, action='append', default=[], metavar=('CONFIG', 'CHECKPOINT'),
                        help='another model to draw beside the first; may be repeated')
    parser.add_argument('--class', dest='label', metavar='NAME_OR_INDEX',
                        help='the class to explain (what each model sees most clearly)')
    parser.add_argument('--target-layer', metavar='NAME',
                        help="the layer whose output is weighted (the last block of the backbone's last stage)")
    parser.add_argument('--method', metavar='NAME',
                        help='a method of the package grad-cam (GradCAM for classifiers, HiResCAM for the others)')
    parser.add_argument('--boxes', metavar='FILE',
                        help='COCO-style annotations of the photos: also measure how the maps cover their objects')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cam'), metavar='DIR',
                        help='where results go (work_dirs/cam)')
    parser.add_argument('--device', metavar='NAME', help='cpu, cuda or cuda:INDEX; by default a GPU if there is one')
    args = parser.parse_args(argv)
    choose_device(args.device)
    try:
        run(args)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        fail(error)


def run(args):
    photos = find_photos(args.images)
    boxes = read_boxes(args.boxes, photos) if args.boxes else {}
    pairs = [(args.config, args.checkpoint), *args.compare]
    subjects = [Subject(*pair, args.target_layer, args.method, get_device()) for pair in pairs]
    names = unique([subject.name for subject in subjects])
    models = {}
    for subject, name, (config, checkpoint) in zip(subjects, names, pairs):
        subject.name = name
        models[name] = dict(config=config, checkpoint=checkpoint, layer=subject.layer_name,
                            method=subject.method.__name__)
    labels = [args.label and subject.label(args.label) for subject in subjects]
    known = set.intersection(*(set(subject.classes) for subject in subjects))
    categories = {box.category for objects in boxes.values() for box in objects}
    if boxes and not categories & known:
        raise ValueError(f"--boxes: the classes of '{args.boxes}' ({', '.join(sorted(categories)[:5])}, ...) are not "
                         f"those of the models ({', '.join(sorted(known)[:5])}, ...)")

    args.out.mkdir(parents=True, exist_ok=True)
    written, rows, records, measured = [], [], [], []
    for i, photo in enumerate(photos):
        row = []
        for subject, label in zip(subjects, labels):
            seen = subject.see(photo)
            heat, answer = subject.explain(seen, label)
            if answer is None:
                row.append((seen.picture, None, 'found nothing', None))
                continue
            row.append((seen.picture, heat, f'{subject.class_name(answer.label)} {answer.score:.2f}',
                        answer.outline if answer.outline is None else answer.outline[:heat.shape[0], :heat.shape[1]]))
            records.append(dict(photo=str(photo), model=subject.name, label=answer.label,
                                class_name=subject.class_name(answer.label), score=answer.score))
        rows.append(row)
        if len(rows) == ROWS or i + 1 == len(photos):
            written.append(args.out / f'cam_{i // ROWS + 1:03d}.png')
            draw_sheet(rows, names, written[-1])
            rows = []
        measured += measure_photo(subjects, photo, [box for box in boxes.get(photo, []) if box.category in known])
    results = dict(models=models, maps=records)
    if boxes:
        summary = summarise(measured, names)
        results['coverage'] = dict(summary=summary, objects=measured)
        print_coverage(summary)
        if summary['all']['objects']:
            written.append(args.out / 'coverage.png')
            draw_coverage(measured, summary, names, written[-1])
    written.append(args.out / 'cam.json')
    written[-1].write_text(json.dumps(results, indent=1))
    print('written:', *written, sep='\n  ')


def unique(names):
    """Number the names that occur twice."""
    return [f'{name} ({names[:i + 1].count(name)})' if names.count(name) > 1 else name for i, name in enumerate(names)]
