"""What is known of a training result that is published: its task, data and numbers, and where its weights began."""
from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope
from torch import Tensor

from ..checkpoints.convert import count_parts
from ..checkpoints.publishing import has_average
from ..checkpoints.weights import SCHEME, Weights
from ..datasets.checks.configs import leaves
from ..models.backbones.res2net import Res2Net
from ..models.names import architecture_values
from ..models.pretrained import as_list, find_weights, is_pretrained
from ..utils.config_types import ancestors, config_class
from ..utils.errors import CheckpointError

TASKS = {  # what the hub calls them, by a class that a model inherits from
    'mmdet.BaseDetector': 'object-detection',
    'mmseg.BaseSegmentor': 'image-segmentation',
    'mmpose.BasePoseEstimator': 'keypoint-detection',
    'mmpretrain.BaseClassifier': 'image-classification',
}
BACKBONE_TASK = 'image-feature-extraction'
NOT_METRICS = ('time', 'data_time')


@dataclass(frozen=True)
class TrainingResult:
    """What is known of a training result; '' and () for what is not.

    Args:
        task (str): The hub's name of the task. Defaults to ''.
        model (str): The class of the model. Defaults to ''.
        parts (str): Its parts, with the number of weights of each. Defaults to ''.
        backbone (str): The backbone as a config has it, without its initial weights. Defaults to ''.
        preprocessing (str): How the model prepares images, as its config has it. Defaults to ''.
        classes (tuple[str]): Names of the classes. Defaults to ().
        trained_on (tuple[str]): Datasets of the training: class and file of annotations. Defaults to ().
        tested_on (tuple[str]): Those of the test. Defaults to ().
        tested_with (tuple[str]): Classes of the metrics of the test. Defaults to ().
        duration (str): How long was trained. Defaults to ''.
        weights (str): Which weights of the training these are. Defaults to ''.
        metrics (tuple[tuple[str, float]]): Names and values that hold for these weights. Defaults to ().
        recorded (tuple[tuple[str, float]]): Of a validation of these weights or of earlier ones. Defaults to ().
        metrics_source (str): Who says ``metrics``. Defaults to ''.
        initial_weights (tuple[str]): What the training began with. Defaults to ().
        derived_from (tuple[Weights]): Those of them that the table of public weights knows. Defaults to ().
    """

    task: str = ''
    model: str = ''
    parts: str = ''
    backbone: str = ''
    preprocessing: str = ''
    classes: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    tested_on: tuple[str, ...] = ()
    tested_with: tuple[str, ...] = ()
    duration: str = ''
    weights: str = ''
    metrics: tuple[tuple[str, float], ...] = ()
    recorded: tuple[tuple[str, float], ...] = ()
    metrics_source: str = ''
    initial_weights: tuple[str, ...] = ()
    derived_from: tuple[Weights, ...] = ()


def describe_result(checkpoint: dict, weights: dict[str, Tensor], path: Path, cfg: Config | None,
                    metrics: Mapping[str, float], average: bool, backbone_only: bool) -> TrainingResult:
    """Gather what a checkpoint and its config say.

    Args:
        checkpoint (dict): What the file holds.
        weights (dict[str, Tensor]): Those of them that are published.
        path (Path): The file; the name of a best checkpoint tells that the metrics in it are its own.
        cfg (mmengine.Config | None): The config of the training, as it is published; None if there is none.
        metrics (dict[str, float]): What was measured with these weights; empty for what the checkpoint says.
        average (bool): Whether the moving average is published, where there is one.
        backbone_only (bool): Whether the backbone alone is published.
    """
    meta = checkpoint.get('meta') or {}
    recorded, own = recorded_metrics(checkpoint, path, average)
    initial, derived_from = initial_weights(cfg)
    return TrainingResult(
        task=BACKBONE_TASK if backbone_only else task_of(cfg) if cfg else '',
        parts=count_parts(weights),
        classes=tuple(map(str, (meta.get('dataset_meta') or {}).get('classes') or ())),
        duration=', '.join(f'{meta[key]} {key}s'.replace('iters', 'iterations')
                           for key in ('epoch', 'iter') if isinstance(meta.get(key), int)),
        weights=_which_weights(checkpoint, average),
        metrics=tuple(metrics.items()) or (recorded if own else ()),
        recorded=() if own or metrics else recorded,
        metrics_source='given by the publisher' if metrics else
                       'the validation after which the training saved these weights as its best' if own else '',
        initial_weights=initial,
        derived_from=derived_from,
        **(_describe_config(cfg) if cfg else {}))


def recorded_metrics(checkpoint: dict, path: Path, average: bool) -> tuple[tuple[tuple[str, float], ...], bool]:
    """Find the latest metrics of a validation in a checkpoint, and whether they are of its own weights.

    mmengine saves a checkpoint before it validates it, so that the metrics inside are those of earlier weights. The
    best checkpoint is saved after its validation, which notes the name of the file; no other checkpoint tells.

    Args:
        checkpoint (dict): What the file holds.
        path (Path): The file.
        average (bool): Whether its moving average is published: that is what was validated.
    """
    hub = checkpoint.get('message_hub')
    scalars, infos = ((hub.get(key) or {}) if isinstance(hub, dict) else {} for key in ('log_scalars', 'runtime_info'))
    latest = {key[len('val/'):]: float(buffer.current()) for key, buffer in scalars.items()
              if key.startswith('val/') and len(buffer.data[0])}
    metrics = tuple((key, value) for key, value in latest.items() if key not in NOT_METRICS and math.isfinite(value)
                    and not (key.startswith('coco/') and value == -1))  # pycocotools' word for: no such objects
    best = {Path(value).name for key, value in infos.items() if key.startswith('best_ckpt') and isinstance(value, str)}
    return metrics, path.name in best and (average or not has_average(checkpoint))


def initial_weights(cfg: Config | None) -> tuple[tuple[str, ...], tuple[Weights, ...]]:
    """Find what weights a training began with: those of ``load_from``, and of every ``init_cfg`` of the model.

    Returns:
        tuple[tuple[str], tuple[Weights]]: Their names in the config, and the rows of those that are public weights.
    """
    sources: list[str] = [cfg.load_from] if cfg and cfg.get('load_from') else []
    todo: list[Any] = [cfg.model] if cfg and cfg.get('model') else []
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            sources += [str(one['checkpoint']) for one in as_list(value.get('init_cfg')) if is_pretrained(one)]
        todo += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    rows = []
    for source in sources:
        if source.startswith(SCHEME):
            with suppress(CheckpointError):  # a user's own, by a name that is not public
                rows.append(find_weights(source[len(SCHEME):]))
    return tuple(dict.fromkeys(sources)), tuple(dict.fromkeys(rows))


def task_of(cfg: Config) -> str:
    """The hub's name of a model's task, by the classes that it inherits from; '' for others."""
    names = ancestors(config_class(cfg.get('model'), MODELS, cfg.get('default_scope')))
    return next((task for name, task in TASKS.items() if name in names), '')


def check_fit(weights: dict[str, Tensor], cfg: Config, config: str) -> None:
    """Check that weights fit the model of a config, all of them.

    Args:
        weights (dict[str, Tensor]): The weights.
        cfg (mmengine.Config): The config.
        config (str): What the message calls it.

    Raises:
        CheckpointError: If the config has no model, or a weight is missing, left over or of another shape.
    """
    if not cfg.get('model'):
        raise CheckpointError(f'{config} has no model')
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model = MODELS.build(cfg.model)
    try:
        model.load_state_dict(dict(weights))
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f'the checkpoint does not fit {config}: {error}'[:1500]) from error


def _which_weights(checkpoint: dict, average: bool) -> str:
    if not has_average(checkpoint):
        return ''
    return ("the moving average of the training's weights (mmengine's EMAHook)" if average else
            "the weights of the optimizer; the training also kept their moving average (mmengine's EMAHook), which is "
            'what it validated')


def _describe_config(cfg: Config) -> dict[str, Any]:
    scope = cfg.get('default_scope')
    model = config_class(cfg.get('model'), MODELS, scope)
    backbone = {key: value for key, value in (cfg.model.get('backbone') or {}).items() if key != 'init_cfg'}
    if issubclass(config_class(backbone, MODELS, scope), Res2Net):
        backbone['stage_pool'] = architecture_values(backbone)['stage_pool']  # part of what the weights compute
    preprocessing = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    evaluators = cfg.get('test_evaluator') or ()
    return dict(
        model='' if model is object else model.__name__,
        backbone=_as_text(backbone),
        preprocessing=_as_text(dict(preprocessing)) if preprocessing else '',
        trained_on=_datasets(cfg, 'train'),
        tested_on=_datasets(cfg, 'test'),
        tested_with=tuple(config_class(one, METRICS, scope).__name__ for one in (
            evaluators if isinstance(evaluators, (list, tuple)) else [evaluators])))


def _datasets(cfg: Config, split: str) -> tuple[str, ...]:
    texts = []
    for dataset in leaves((cfg.get(f'{split}_dataloader') or {}).get('dataset')):
        names = [config_class(dataset, DATASETS, cfg.get('default_scope')).__name__, dataset.get('ann_file')]
        texts.append(', '.join(str(name) for name in names if name))
    return tuple(texts)


def _as_text(config: dict[str, Any]) -> str:
    return f'dict({", ".join(f"{name}={value!r}" for name, value in config.items())})' if config else ''
