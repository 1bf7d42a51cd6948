"""Images per second of whole models, with our backbones and the toolboxes'.

A config of ours is built with its own backbone, plain and accelerated, with the toolbox's ResNet of the same depth, and
with the toolbox's Res2Net where there is one, these also in ONNX Runtime if that is asked for; all else stays as it is.
Weights are random, images are noise. They go through the model's preprocessor and its ``predict``, as in a test,
without reading a file.

What a detector does with its boxes depends on what it has learned, so that is fixed: as many proposals as the config
allows (none suppresses another), since a trained one keeps as many on an image, and no detections (no score is over 1).
"""
from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import import_module
from statistics import median
from typing import Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.benchmark import timer

from ..acceleration.backends import accelerate
from ..acceleration.exported import OnnxRuntime
from ..models.names import RES2NET_ARGUMENTS, architecture_values
from ..models.parts import backbone_and_neck
from .models_report import ModelRow
from .timing import MeasuringSettings, ratio_of_times, time_rounds

OURS = 'res2net_mm.Res2Net'
SAMPLES = dict(mmdet='DetDataSample', mmseg='SegDataSample', mmpose='PoseDataSample', mmpretrain='DataSample')
NOT_OF_RESNET = (*RES2NET_ARGUMENTS, 'arch')  # arguments of our backbone; some say what a ResNet is, too


# 1. The models.


@dataclass(frozen=True)
class BuiltModel:
    """A model of a config with one of the backbones that are compared.

    Attributes:
        backbone (str): Type of its backbone.
        path (str): How the backbone runs: 'eager', 'accelerate' or 'accelerate-BACKEND', or, if it is the toolbox's,
            'onnxruntime'.
        model (nn.Module): The model, in eval mode.
    """

    backbone: str
    path: str
    model: nn.Module


def build_models(cfg: Config, backends: Sequence[str], settings: MeasuringSettings) -> list[BuiltModel]:
    """Build the model of a config with every backbone, each with weights of the same seed.

    Args:
        cfg (mmengine.Config): The config.
        backends (Sequence[str]): Keys of ``acceleration.BACKENDS``.
        settings (MeasuringSettings): Where they go, and the type and layout that backbone and neck compute in; what
            follows them has float32.

    Returns:
        list[BuiltModel]: The models, the first with our backbone as it is.

    Raises:
        ValueError: If the backbone is not our Res2Net.
    """
    scope = cfg.default_scope
    init_default_scope(scope)
    import_module(f'{scope}.models')
    models = []
    for name, backbone in compared_backbones(cfg.model.backbone, scope).items():
        torch.manual_seed(0)
        config = copy.deepcopy(cfg.model)
        config.backbone = backbone
        fix_boxes(config.get('test_cfg'))
        plain = MODELS.build(config).eval()
        models.append(BuiltModel(name, 'eager', plain))
        for backend in backends if name == OURS else ():
            path = 'accelerate' if backend == 'auto' else f'accelerate-{backend}'
            models.append(BuiltModel(name, path, accelerate(plain, backend)))
        if name != OURS and 'onnxruntime' in backends:
            models.append(BuiltModel(name, 'onnxruntime', in_onnx_runtime(plain)))
    for built in models:
        built.model.to(settings.device)
        cast_features(built.model, settings.torch_dtype, settings.memory_format)
    return models


def in_onnx_runtime(model: nn.Module) -> nn.Module:
    """A copy of a toolbox's model whose backbone ONNX Runtime runs."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.backbone = OnnxRuntime(model.backbone, torch.randn(1, 3, 64, 64))
    return model


def compared_backbones(ours: dict, scope: str) -> dict[str, dict]:
    """What a config's backbone is compared with.

    Args:
        ours (dict): Config of our Res2Net.
        scope (str): The toolbox.

    Returns:
        dict[str, dict]: Configs by type: ours, the toolbox's ResNet and, if it has one, its Res2Net. mmdet's always has
        v1b's stem and shortcuts.

    Raises:
        ValueError: If it is not our Res2Net.
    """
    if ours['type'] != OURS:
        raise ValueError(f"backbone type='{ours['type']}' must be '{OURS}'")
    ours = dict(ours, init_cfg=None)
    values = architecture_values(ours)
    resnet = {key: value for key, value in ours.items() if key not in NOT_OF_RESNET}
    resnet.update(type=f'{scope}.ResNet', **{key: values[key] for key in ('depth', 'deep_stem', 'avg_down')})
    resnet.setdefault('out_indices', (0, 1, 2, 3))
    backbones = {OURS: ours, resnet['type']: resnet}
    in_toolbox = MODELS.get(f'{scope}.Res2Net') is not None
    if in_toolbox and values['scales'] > 1 and values['groups'] == 1 and not values['se_reduction']:
        backbones[f'{scope}.Res2Net'] = dict(
            resnet, type=f'{scope}.Res2Net', scales=values['scales'], base_width=values['base_width'])
    return backbones


def fix_boxes(test_cfg: object) -> None:
    """Have a detector's test settings keep all proposals and no detections, wherever they say so. In place."""
    if not isinstance(test_cfg, dict):
        return
    for key, value in test_cfg.items():
        if key == 'rpn':
            value['nms']['iou_threshold'] = 1.
        elif key == 'score_thr':
            test_cfg[key] = 1.
        for inner in value if isinstance(value, (list, tuple)) else [value]:
            fix_boxes(inner)


def cast_features(model: nn.Module, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    """Have backbone and neck compute in a type and a memory format; what comes in and out is as it was."""
    if (dtype, memory_format) == (torch.float32, torch.contiguous_format):
        return
    parts = backbone_and_neck(model)
    for part in parts:
        part.to(dtype=dtype, memory_format=memory_format)
    parts[0].register_forward_pre_hook(
        lambda _, inputs: (inputs[0].to(dtype=dtype, memory_format=memory_format), ))
    parts[-1].register_forward_hook(lambda _, inputs, outs: tuple(out.float().contiguous() for out in outs))


# 2. What they see.


def find_test_size(name: str, cfg: Config) -> tuple[int, int]:
    """The size that a config's test pipeline brings images to, at most, or else the ``crop_size`` of mmseg's configs.

    Args:
        name (str): Name of the config, for the error message.
        cfg (mmengine.Config): The config.

    Returns:
        tuple[int, int]: Height and width.

    Raises:
        ValueError: If it has neither.
    """
    for transform in reversed(cfg.test_dataloader.dataset.get('pipeline', [])):
        for key in ('scale', 'input_size', 'crop_size'):
            if transform.get(key):
                width, height = [transform[key]] * 2 if isinstance(transform[key], int) else transform[key]
                return height, width
    if 'crop_size' in cfg:
        height, width = cfg.crop_size
        return height, width
    raise ValueError(f"--image-size: must be given, since '{name}' has neither a size to test at nor a crop_size")


def noise_batch(scope: str, model: nn.Module, batch_size: int, height: int, width: int) -> dict:
    """A batch as a data loader returns it: images of noise, and what a head has to know of them."""
    sample_type = getattr(import_module(f'{scope}.structures'), SAMPLES[scope])
    samples = []
    for _ in range(batch_size):
        shape = (height, width)
        sample = sample_type(metainfo=dict(img_shape=shape, ori_shape=shape, pad_shape=shape, scale_factor=(1., 1.)))
        if scope == 'mmpose':
            size = np.array([width, height], dtype='float32')
            flip_indices = list(range(model.head.out_channels))
            sample.set_metainfo(dict(input_size=size, input_center=size / 2, input_scale=size,
                                     flip_indices=flip_indices))
            sample.gt_instances = InstanceData(bboxes=np.array([[0, 0, *size]]), bbox_scores=np.ones(1))
        samples.append(sample)
    images = torch.randint(0, 256, (batch_size, 3, height, width), dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


# 3. Measuring.


class TimedStep:
    """A test step on a batch, which notes what part of its time the backbone takes.

    Args:
        model (nn.Module): A toolbox's model.
        batch (dict): What its ``test_step`` takes.

    Attributes:
        shares (list[float]): The backbone's part of every call's time.
    """

    def __init__(self, model: nn.Module, batch: dict) -> None:
        self.model, self.batch = model, batch
        self.shares: list[float] = []
        self._seconds = 0.
        backbone = backbone_and_neck(model)[0]
        self._hooks = [backbone.register_forward_pre_hook(lambda *_: self._add(-timer())),
                       backbone.register_forward_hook(lambda *_: self._add(timer()))]

    def _add(self, seconds: float) -> None:
        self._seconds += seconds

    def __call__(self) -> None:
        self._seconds, start = 0., timer()
        self.model.test_step(self.batch)
        self.shares.append(self._seconds / (timer() - start))

    def close(self) -> None:
        """Take the hooks off the backbone."""
        for hook in self._hooks:
            hook.remove()


def benchmark_config(name: str, cfg: Config, models: Sequence[BuiltModel], batch_size: int, size: tuple[int, int],
                     rounds: int) -> list[ModelRow]:
    """Time every model of a config on a batch.

    Args:
        name (str): Name of the config.
        cfg (mmengine.Config): The config.
        models (Sequence[BuiltModel]): What ``build_models`` returns.
        batch_size (int): Images at once.
        size (tuple[int, int]): Height and width of the images.
        rounds (int): How often everything is timed.

    Returns:
        list[ModelRow]: A row for every model.
    """
    batch = noise_batch(cfg.default_scope, models[0].model, batch_size, *size)
    steps = [TimedStep(built.model, batch) for built in models]
    all_seconds = time_rounds(steps, rounds)
    for step in steps:
        step.close()
    resnet_seconds = next(seconds for built, seconds in zip(models, all_seconds)
                          if built.backbone == f'{cfg.default_scope}.ResNet')
    return [ModelRow(name, built.backbone, built.path, batch_size, size, ratio_of_times(seconds, resnet_seconds),
                     ratio_of_times(seconds, all_seconds[0]), median(step.shares), seconds)
            for built, step, seconds in zip(models, steps, all_seconds)]
