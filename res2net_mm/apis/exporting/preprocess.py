"""What the test pipeline and the data preprocessor of a config do to an image, as plain numbers.

``res2net_mm/apis/preparation.py`` says what the numbers are, and does it without any toolbox.
"""
from __future__ import annotations

from typing import Any, Callable

from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import nn

from ...datasets.checks.configs import transforms_without_annotations
from ...utils.config_types import config_class
from ...utils.errors import UserError
from ..preparation import Preprocess


def read_preprocess(cfg: Config, model: nn.Module) -> Preprocess:
    """Read what is done to an image before a model sees it.

    Args:
        cfg (mmengine.Config): The config, with a ``test_dataloader``.
        model (nn.Module): Its model, for the data preprocessor.

    Raises:
        UserError: If there is a transform, or a preprocessor, that is not known, or whose effect cannot be expressed.
    """
    preprocess: Preprocess = dict(patch=None, resize=None, crop=None, **read_normalisation(model.data_preprocessor))
    for step in transforms_without_annotations(cfg):
        kind = config_class(step, TRANSFORMS, cfg.get('default_scope'))
        name = class_name(kind)
        if name not in READERS:
            raise UserError(f"test pipeline: transform '{step['type']}' is not known to export; known are "
                            f'{", ".join(READERS)}')
        with TRANSFORMS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            found = READERS[name](registry.build(step))
        if any(preprocess.get(key) for key in found) or (preprocess['crop'] and 'resize' in found):
            raise UserError(f"test pipeline: '{step['type']}' comes after another one of its kind; export takes one "
                            'resize, and then one crop')
        preprocess.update(found)
    padding = preprocess.pop('padding', 1.)
    if preprocess['patch']:
        preprocess['patch']['padding'] = padding
    return preprocess


def class_name(kind: type) -> str:
    """A class as package and name, such as 'mmcv.Resize'."""
    return f'{kind.__module__.partition(".")[0]}.{kind.__name__}'


def read_normalisation(preprocessor: nn.Module) -> dict:
    """Channel order, mean, standard deviation and padding of a data preprocessor.

    Raises:
        UserError: If its class is not one of the four toolboxes' own.
    """
    name = class_name(type(preprocessor))
    if name not in PREPROCESSORS:
        raise UserError(f"data_preprocessor '{type(preprocessor).__name__}' is not known to export; known are "
                        f'{", ".join(PREPROCESSORS)}')
    normalised = preprocessor._enable_normalize
    in_test = getattr(preprocessor, 'test_cfg', None) or {}  # mmseg's pads in tests only if it is told to
    divisor = in_test.get('size_divisor') if name.startswith('mmseg') else preprocessor.pad_size_divisor
    rgb = preprocessor.to_rgb if name.startswith('mmpretrain') else preprocessor._channel_conversion
    size = in_test.get('size')
    return dict(rgb=bool(rgb),
                mean=preprocessor.mean.flatten().tolist() if normalised else [0.] * 3,
                std=preprocessor.std.flatten().tolist() if normalised else [1.] * 3,
                pad_size=list(size) if size else None, pad_divisor=divisor or 1,
                pad_value=getattr(preprocessor, 'pad_val', getattr(preprocessor, 'pad_value', 0)))


def read_resize(step: Any) -> dict:
    """The resize of mmcv's Resize."""
    if step.scale is None:
        raise UserError('test pipeline: Resize with scale_factor is not known to export; give it a scale')
    rule = 'keep_ratio' if step.keep_ratio else 'fixed'
    return resize_settings(step, rule, list(step.scale)[::-1])


def resize_settings(step: Any, rule: str, size: Any) -> dict:
    """A resize with the library and the interpolation of a transform."""
    return dict(resize=dict(rule=rule, size=size, interpolation=step.interpolation, library=step.backend))


def read_crop(step: Any) -> dict:
    """The crop of mmcv's CenterCrop."""
    if step.auto_pad:
        raise UserError('test pipeline: CenterCrop with auto_pad is not known to export')
    return dict(crop=list(step.crop_size))


def read_patch(step: Any) -> dict:
    """The patch of mmpose's TopdownAffine, without the padding, which is that of GetBBoxCenterScale."""
    if step.use_udp:
        raise UserError('test pipeline: TopdownAffine with use_udp is not known to export')
    return dict(patch=dict(size=[int(side) for side in step.input_size[::-1]]))


def fix_input_size(preprocess: Preprocess, size: tuple[int, int]) -> Preprocess:
    """The same, so that every image comes out at one size.

    An image that keeps its ratio is resized to fit into it, and padded; one that is cropped is resized in proportion;
    any other is resized to it.

    Args:
        preprocess (dict): What ``read_preprocess`` returns.
        size (tuple[int, int]): Height and width.
    """
    fixed, resize, crop = list(size), preprocess['resize'], preprocess['crop']
    by_cv2 = dict(interpolation='bilinear', library='cv2')
    if preprocess['patch']:
        return dict(preprocess, patch=dict(preprocess['patch'], size=fixed))
    if crop:
        if resize and isinstance(resize['size'], int):
            resize = dict(resize, size=max(round(resize['size'] * side / old) for side, old in zip(fixed, crop)))
        return dict(preprocess, resize=resize or dict(rule='fixed', size=fixed, **by_cv2), crop=fixed)
    rule = 'within' if resize and resize['rule'] == 'keep_ratio' else 'fixed'
    return dict(preprocess, resize=dict(resize or by_cv2, rule=rule, size=fixed), pad_size=fixed, pad_divisor=1)


def fixed_size(preprocess: Preprocess) -> tuple[int, int] | None:
    """The height and width that every image comes out at, or None."""
    resize = preprocess['resize'] or {}
    size = (preprocess['patch'] or {}).get('size') or preprocess['crop'] or (
        resize['size'] if resize.get('rule') in ('fixed', 'within') else None)
    return tuple(size) if size else None


PREPROCESSORS = ('mmpretrain.ClsDataPreprocessor', 'mmdet.DetDataPreprocessor', 'mmseg.SegDataPreProcessor',
                 'mmpose.PoseDataPreprocessor')
READERS: dict[str, Callable[[Any], dict]] = {
    **{name: lambda step: {} for name in (
        'mmcv.LoadImageFromFile', 'mmdet.LoadImageFromFile', 'mmpose.LoadImage', 'mmpretrain.PackInputs',
        'mmdet.PackDetInputs', 'mmseg.PackSegInputs', 'mmpose.PackPoseInputs')},
    'mmcv.Resize': read_resize,
    'mmdet.Resize': read_resize,
    'mmseg.Resize': read_resize,
    'mmpretrain.ResizeEdge': lambda step: resize_settings(step, step.edge, step.scale),
    'mmcv.CenterCrop': read_crop,
    'mmpose.GetBBoxCenterScale': lambda step: dict(padding=step.padding),
    'mmpose.TopdownAffine': read_patch,
}
