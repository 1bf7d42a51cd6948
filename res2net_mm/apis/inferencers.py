"""The toolboxes' own inferencers, with weights that are loaded strictly and names of classes that are the model's.

What an inferencer asks of a config is settled here first, for configs of either style: one dataset with a test
pipeline, whose transforms are named by text, and a visualizer, which it builds and which draws nothing.
"""
from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, DefaultScope

from ..datasets.checks.built import BuiltModel
from ..datasets.checks.configs import leaves
from ..datasets.checks.heads import CLASSES, THINGS, head_numbers
from ..models.whole_model import load_weights
from ..utils.config import load_config
from ..utils.config_types import ancestors, config_class
from ..utils.errors import CheckpointError, UserError
from .model_files import ModelFiles

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Toolbox:
    """What is known of a toolbox before it is imported.

    Args:
        extra (str): The extra of this package that installs it.
        task (str): The task of its models, one of ``TASKS``.
        model (str): The class that they inherit from.
        visualizer (str): What its inferencer builds to draw.
    """

    extra: str
    task: str
    model: str
    visualizer: str = ''


TOOLBOXES = {
    'mmdet': Toolbox('det', 'detection', 'mmdet.BaseDetector', 'DetLocalVisualizer'),
    'mmseg': Toolbox('seg', 'segmentation', 'mmseg.BaseSegmentor', 'SegLocalVisualizer'),
    'mmpose': Toolbox('pose', 'keypoints', 'mmpose.BasePoseEstimator', 'PoseLocalVisualizer'),
    'mmpretrain': Toolbox('cls', 'classification', 'mmpretrain.ImageClassifier'),
}


ANNOTATIONS = {'mmcv.LoadAnnotations', 'mmseg.LoadDepthAnnotation', 'res2net_mm.LoadSaliencyAnnotations'}


@dataclass(frozen=True)
class Inference:
    """A model that is ready to run.

    Args:
        task (str): One of ``TASKS``.
        scope (str): The toolbox.
        inferencer (object): The toolbox's inferencer, with ``model``, ``pipeline`` and ``forward``.
        meta (dict): What the checkpoint and the config say of the dataset, such as ``classes``.
        grey (bool): Whether the model's images have one channel.
    """

    task: str
    scope: str
    inferencer: Any
    meta: dict
    grey: bool

    def prepare(self, image: np.ndarray) -> dict:
        """Send an image through the test pipeline: ``inputs`` and ``data_samples``."""
        if self.scope == 'mmpretrain':  # whose inferencer has no transform for this
            return self.inferencer.pipeline(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2]))
        return self.inferencer.pipeline(image)

    def collate(self, inputs: Sequence[dict]) -> Any:
        """Make one batch of images that are prepared."""
        return default_collate(inputs) if self.scope == 'mmpretrain' else self.inferencer.collate_fn(inputs)


def build_inferencer(files: ModelFiles, device: str) -> Inference:
    """Build the inferencer that the class of a model asks for.

    Args:
        files (ModelFiles): Its config and checkpoint.
        device (str): Where it runs, such as 'cpu'.

    Raises:
        UserError: If a file cannot be read, the two do not fit, the toolbox is not installed, or the model is of
            another kind.
    """
    cfg, toolbox = read_model_config(files.config)
    grey = settle_test_pipeline(cfg, toolbox, files.config)
    with DefaultScope.overwrite_default_scope(toolbox):
        meta = dataset_meta(cfg, toolbox)

    def load(model: nn.Module) -> dict:
        stored = load_files(model, files, toolbox)
        meta.update({key.lower(): value for key, value in stored.items()})
        meta['classes'] = class_names(meta.get('classes'), model, cfg)
        return meta

    with DefaultScope.overwrite_default_scope(toolbox):
        inferencer = INFERENCERS[toolbox](cfg, device, load)
    task = TOOLBOXES[toolbox].task
    if toolbox == 'mmseg' and is_saliency(inferencer.model, cfg):
        task = 'saliency'
    return Inference(task, toolbox, inferencer, meta, grey)


def load_files(model: nn.Module, files: ModelFiles, toolbox: str) -> dict:
    """Load the checkpoint of a model strictly, and return what it says of its dataset.

    Raises:
        CheckpointError: If it cannot be read or does not fit.
    """
    try:
        return load_weights(model, files.config, files.checkpoint, toolbox)
    except (OSError, ValueError) as error:
        raise CheckpointError(one_line(str(error))) from error


def read_model_config(config: str) -> tuple[Config, str]:
    """Read the config of a model, and find its toolbox.

    Raises:
        UserError: If it cannot be read, the toolbox is not installed, or the model is of another kind.
    """
    try:
        cfg = load_config(config)
    except FileNotFoundError as error:
        raise UserError(str(error)) from error
    except OSError as error:  # of mmengine, for a file of another kind
        raise UserError(f"config '{config}': {error}") from error
    except ModuleNotFoundError as error:
        require_toolbox((error.name or '').partition('.')[0], config)
        raise UserError(f"config '{config}': {error}") from error
    require_toolbox(cfg.get('default_scope'), config)
    if cfg.get('model') is None:
        raise UserError(f"config '{config}' has no model")
    kinds = ancestors(config_class(cfg.model, MODELS, cfg.get('default_scope')))
    toolbox = next((name for name, row in TOOLBOXES.items() if row.model in kinds), None)
    if toolbox is None:
        raise UserError(f"config '{config}': its model is a {cfg.model.get('type')}; there are results for "
                        'classifiers, detectors, segmentors and pose estimators')
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)  # as mmengine's Runner does
    return cfg, toolbox


def require_toolbox(name: str | None, config: str) -> None:
    """Raise a UserError that says how to install a toolbox, if it is one and is not installed."""
    if name in TOOLBOXES and find_spec(name) is None:
        raise UserError(f"config '{config}' is one of {name}, which is not installed: "
                        f"pip install 'res2net_mm[{TOOLBOXES[name].extra}]'" +
                        (' and then: pip install --no-deps mmpose' if name == 'mmpose' else ''))


def settle_test_pipeline(cfg: Config, toolbox: str, config: str) -> bool:
    """Give a config one test dataset, transforms named by text, and a visualizer: what inferencers look for.

    Args:
        cfg (mmengine.Config): The config, changed in place.
        toolbox (str): The toolbox of its model.
        config (str): What the message calls it.

    Returns:
        bool: Whether its images are loaded in grey.

    Raises:
        UserError: If it has no test pipeline, or one that does not start with an image file.
    """
    dataset = leaves((cfg.get('test_dataloader') or {}).get('dataset') or {})[0]
    pipeline = dataset.get('pipeline')
    if not pipeline:
        raise UserError(f"config '{config}' has no test pipeline (test_dataloader.dataset.pipeline)")
    scope = cfg.get('default_scope') or toolbox
    steps, grey, has_loader = [], False, False
    for step in copy.deepcopy(pipeline):
        kind = config_class(step, TRANSFORMS, scope)
        if is_loader(kind):
            has_loader = True
            grey = str(step.get('color_type', '')).startswith('grayscale')
            step['type'] = 'LoadImage' if toolbox == 'mmpose' else 'LoadImageFromFile'
        elif toolbox == 'mmseg' and ANNOTATIONS & ancestors(kind).keys():
            continue  # mmseg's inferencer drops those that are called LoadAnnotations
        elif isinstance(step['type'], type):
            step['type'] = import_path(kind)
        steps.append(step)
    if not has_loader:
        raise UserError(f"config '{config}': its test pipeline loads no image file")
    dataset.pipeline = steps
    cfg.test_dataloader.dataset = dataset
    cfg.default_scope = scope
    kind = config_class(dataset, DATASETS, scope)
    if isinstance(dataset.get('type'), type):
        dataset.type = import_path(kind)
    if toolbox == 'mmpose':
        cfg.data_mode = dataset.get('data_mode', 'topdown')
        cfg.dataset_type = import_path(kind)
    if TOOLBOXES[toolbox].visualizer:
        cfg.visualizer = dict(type=TOOLBOXES[toolbox].visualizer)
    return grey


def import_path(kind: type) -> str:
    """The name by which registries find any class."""
    return f'{kind.__module__}.{kind.__qualname__}'


def is_loader(kind: type) -> bool:
    """Whether a transform loads one image file as the toolboxes' own loaders do."""
    return 'mmcv.LoadImageFromFile' in ancestors(kind)


def dataset_meta(cfg: Config, toolbox: str) -> dict:
    """What the class of the test dataset and the config say of it, such as ``classes``."""
    dataset = cfg.test_dataloader.dataset
    kind = config_class(dataset, DATASETS, cfg.default_scope)
    meta = {**copy.deepcopy(getattr(kind, 'METAINFO', {})), **dict(dataset.get('metainfo') or {})}
    if toolbox == 'mmpose':
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        meta = {**parse_pose_metainfo(meta), 'classes': object_names(kind)}
    return meta


def object_names(dataset: type) -> tuple[str, ...]:
    """What the keypoints of a dataset of mmpose are of, from the module that it is in: ('person', ), ('hand', ), ..."""
    parts = dataset.__module__.split('.')
    name = parts[-2] if len(parts) > 2 and parts[0] == 'mmpose' else 'object'
    return ('person' if name in ('body', 'wholebody', 'datasets') else name, )


def class_names(names: Any, model: nn.Module, cfg: Config) -> tuple[str, ...]:
    """The names that a model has for its classes; 'class 0', ... where they are unknown or as many as another's."""
    names = tuple(map(str, names or ()))
    numbers = [number.number for number in head_numbers(BuiltModel(model, cfg)) if number.what in (CLASSES, THINGS)]
    if not numbers or len(names) == numbers[0]:
        return names
    return tuple(f'class {i}' for i in range(numbers[0]))


def is_saliency(model: nn.Module, cfg: Config) -> bool:
    """Whether a segmentor of mmseg has one map, of what is salient."""
    dataset = config_class(cfg.test_dataloader.dataset, DATASETS, cfg.default_scope)
    head = getattr(model, 'decode_head', None)
    return 'res2net_mm.DSSHead' in ancestors(type(head)) or (
        getattr(head, 'out_channels', 0) == 1 and 'res2net_mm.SaliencyDataset' in ancestors(dataset))


def one_line(text: str, most: int = 500) -> str:
    """A text in one line, shortened."""
    text = ' '.join(text.split())
    return text if len(text) <= most else text[:most].rsplit(' ', 1)[0] + ' ...'


def strict(kind: Any, load: Callable[[nn.Module], dict]) -> Any:
    """A class of inferencers whose weights come from ``load``, where mmengine would only warn of those that are amiss.

    Args:
        kind (type): mmdet's, mmseg's or mmpose's inferencer.
        load (Callable): Loads a model's weights, and returns what is known of its dataset.
    """
    class StrictInferencer(kind):
        """The inferencer of the toolbox."""

        def _load_weights_to_model(self, model, checkpoint, cfg):  # a method for subclasses, says mmengine
            model.dataset_meta = load(model)

        def _init_collate(self, cfg):
            return super()._init_collate(cfg) if 'collate_fn' in cfg.test_dataloader else pseudo_collate

    return StrictInferencer


def build_detection(cfg: Config, device: str, load: Callable[[nn.Module], dict]) -> Any:
    """mmdet's inferencer."""
    from mmdet.apis import DetInferencer
    return strict(DetInferencer, load)(cfg, device=device, scope=cfg.default_scope, show_progress=False)


def build_segmentation(cfg: Config, device: str, load: Callable[[nn.Module], dict]) -> Any:
    """mmseg's inferencer."""
    from mmseg.apis import MMSegInferencer
    return strict(MMSegInferencer, load)(cfg, device=device, scope=cfg.default_scope, show_progress=False)


def build_keypoints(cfg: Config, device: str, load: Callable[[nn.Module], dict]) -> Any:
    """mmpose's inferencer, without a detector: where the boxes come from is ours."""
    from mmpose.apis.inferencers import Pose2DInferencer
    return strict(Pose2DInferencer, load)(cfg, device=device, scope=cfg.default_scope, det_model='whole_image')


def build_classification(cfg: Config, device: str, load: Callable[[nn.Module], dict]) -> Any:
    """mmpretrain's inferencer."""
    from mmengine.model import revert_sync_batchnorm
    from mmpretrain.apis import ImageClassificationInferencer, get_model
    model = revert_sync_batchnorm(get_model(cfg))
    meta = load(model)
    return ImageClassificationInferencer(model, device=device, classes=meta['classes'])


INFERENCERS: dict[str, Callable[[Config, str, Callable], Any]] = {
    'mmdet': build_detection, 'mmseg': build_segmentation, 'mmpose': build_keypoints,
    'mmpretrain': build_classification}
