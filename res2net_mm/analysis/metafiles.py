"""The metafiles, which ``mim`` reads: ``python -m res2net_mm.analysis.metafiles`` writes configs/*/metafile.yml.

A model's name, schedule and weights are those of its config and of the table of public weights; what is written down
here is how the configs of a folder are grouped.
"""
from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from ..checkpoints.weights import SCHEME, Accuracy, Weights
from ..models.public_weights import ACCURACIES, ERRORS, WEIGHTS, find_tested_weights
from ..utils.config import load_config, packaged_configs

HEADER = """# Written by python -m res2net_mm.analysis.metafiles.
# Weights: of the published model that a config builds; if there is none, the ImageNet weights that it starts from.
"""
PAPER = 'https://arxiv.org/abs/1904.01169'
# Weights of ResNets that configs start from, and the addresses that they stand for.
RESNETS = {
    'torchvision://resnet50': 'https://download.pytorch.org/models/resnet50-0676ba61.pth',
    'torchvision://resnet101': 'https://download.pytorch.org/models/resnet101-63fe2227.pth',
    'mmcls://resnet50_v1d':
    'https://mmassets.onedl.ai/mmclassification/v0/resnet/resnetv1d50_b32x8_imagenet_20210531-db14775a.pth',
}


@dataclass(frozen=True)
class Collection:
    """Configs of one folder that belong together.

    Args:
        folder (str): The folder, in configs/.
        names (str): Their names as a pattern of fnmatch; of several that fit, the longest counts.
        name (str): What they are called.
        data (str): What they are trained on.
        architecture (tuple[str]): The parts of the model.
    """

    folder: str
    names: str
    name: str
    data: str
    architecture: tuple[str, ...]


COLLECTIONS = (
    Collection('detection', 'faster_rcnn_*', 'Faster R-CNN with Res2Net', 'COCO', ('Res2Net', 'FPN', 'Faster R-CNN')),
    Collection('detection', 'mask_rcnn_*', 'Mask R-CNN with Res2Net', 'COCO', ('Res2Net', 'FPN', 'Mask R-CNN')),
    Collection('detection', 'cascade_rcnn_*', 'Cascade R-CNN with Res2Net', 'COCO',
               ('Res2Net', 'FPN', 'Cascade R-CNN')),
    Collection('detection', 'cascade_mask_rcnn_*', 'Cascade Mask R-CNN with Res2Net', 'COCO',
               ('Res2Net', 'FPN', 'Cascade R-CNN')),
    Collection('detection', 'htc_*', 'HTC with Res2Net', 'COCO', ('Res2Net', 'FPN', 'HTC')),
    Collection('detection', 'vfnet_*', 'VFNet with Res2Net', 'COCO', ('Res2Net', 'FPN', 'VFNet')),
    Collection('segmentation', 'deeplabv3plus_*', 'DeepLabv3+ with Res2Net', 'PASCAL VOC 2012 aug',
               ('Res2Net', 'ASPP')),
    Collection('segmentation', 'deeplabv3plus_*_kvasir', 'DeepLabv3+ with Res2Net for polyps', 'Kvasir-SEG',
               ('Res2Net', 'ASPP')),
    Collection('segmentation', 'upernet_*', 'UPerNet with Res2Net', 'ADE20K', ('Res2Net', 'UPerNet')),
    Collection('pose', 'simplebaseline_*', 'SimpleBaseline with Res2Net', 'COCO', ('Res2Net', 'deconvolutions')),
    Collection('saliency', 'dss_*', 'DSS salient objects with Res2Net', 'MSRA-B', ('Res2Net', 'DSS')),
    Collection('classification', 'imagenet_*', 'ImageNet classification with Res2Net', 'ImageNet-1k', ('Res2Net', )),
    Collection('classification', 'cifar100_*', 'CIFAR-100 classification with Res2Net', 'CIFAR-100', ('Res2NeXt-29', )),
    Collection('classification', 'cifar10_*', 'CIFAR-10 classification with Res2Net', 'CIFAR-10', ('Res2NeXt-29', )),
    Collection('small', 'digits_*', 'Handwritten digits with Res2Net', "scikit-learn's digits", ('Res2Net', )),
    Collection('small', 'sizes_*', 'Shapes of many sizes with Res2Net', 'generated', ('Res2Net', )),
    Collection('small', 'cifar10_*', 'CIFAR-10 with narrow Res2NeXt', 'CIFAR-10', ('Res2NeXt-29', )),
    Collection('small', 'dss_*_ecssd', 'DSS salient objects with small Res2Net', 'ECSSD', ('Res2Net', 'DSS')),
    Collection('small', 'deeplabv3plus_*_kvasir', 'DeepLabv3+ with small Res2Net for polyps', 'Kvasir-SEG',
               ('Res2Net', 'ASPP')),
    Collection('small', 'faster_rcnn_*_bccd', 'Faster R-CNN with small Res2Net for blood cells', 'BCCD',
               ('Res2Net', 'FPN', 'Faster R-CNN')),
)
FOLDERS = tuple(dict.fromkeys(collection.folder for collection in COLLECTIONS))


def metafile(folder: str) -> str:
    """Write the metafile of a folder of configs/.

    Args:
        folder (str): One of ``FOLDERS``. A config on top of configs/ is in the metafile of the folder whose collection
            it belongs to.
    """
    collections = [collection for collection in COLLECTIONS if collection.folder == folder]
    configs = packaged_configs()
    paths = sorted([*configs.glob('*.py'), *(configs / folder).glob('*.py')], key=lambda path: path.stem)
    models = [_model(path, collection) for path in paths for collection in [_collection(path.stem, collections)]
              if collection]
    content = dict(Collections=[_describe(collection) for collection in collections], Models=models)
    return HEADER + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=1000, allow_unicode=True)


def find_address(weights: Weights) -> str | None:
    """The address that ``mim`` downloads weights from: a .pth if there is one, since the hub's files have no names."""
    addresses = sorted((file.url for file in weights.files), key=lambda url: not url.endswith('.pth'))
    return addresses[0] if addresses else None


def _collection(name: str, collections: list[Collection]) -> Collection | None:
    """The collection of a config; None if it is in none of them."""
    fitting = [collection for collection in collections if fnmatchcase(name, collection.names)]
    return max(fitting, key=lambda collection: len(collection.names), default=None)


def _describe(collection: Collection) -> dict[str, Any]:
    return {
        'Name': collection.name,
        'Metadata': {'Training Data': collection.data, 'Architecture': list(collection.architecture)},
        'Paper': PAPER,
        'README': f'configs/{collection.folder}/README.md',
    }


def _model(path: Path, collection: Collection) -> dict[str, Any]:
    """What a metafile says of a config."""
    cfg = load_config(path)
    model: dict[str, Any] = {
        'Name': path.stem,
        'In Collection': collection.name,
        'Config': f'configs/{path.relative_to(packaged_configs()).as_posix()}',
        'Metadata': _schedule(cfg),
    }
    published = find_tested_weights(path)
    if published and published.files:
        model['Results'] = _results(published.accuracies[0], collection.data)
    address = find_address(published) if published and published.files else _starting_weights(cfg)
    if address:
        model['Weights'] = address
    return model


def _schedule(cfg: Config) -> dict[str, int]:
    """How long a config trains, counted in updates of the weights, and the images of an update."""
    updates = cfg.optim_wrapper.get('accumulative_counts', 1)
    train = cfg.train_cfg
    schedule = dict(Iterations=train.max_iters // updates) if 'max_iters' in train else dict(Epochs=train.max_epochs)
    batch_size = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    return {**schedule, **({'Batch Size': batch_size * updates} if batch_size else {})}


def _starting_weights(cfg: Config) -> str | None:
    """The address of the weights that a config's backbone starts from; None if nobody has published them."""
    checkpoint = (cfg.model.backbone.get('init_cfg') or {}).get('checkpoint', '')
    if checkpoint in RESNETS:
        return RESNETS[checkpoint]
    return next((find_address(weights) for weights in WEIGHTS if checkpoint == SCHEME + weights.name), None)


def _results(accuracy: Accuracy, data: str) -> list[dict[str, Any]]:
    """A published accuracy as ``mim search`` knows it."""
    if accuracy.metric in (ERRORS, ACCURACIES):
        top1, top5 = (round(100 - value, 3) if accuracy.metric == ERRORS else value for value in accuracy.values)
        metrics = {'Top 1 Accuracy': top1, 'Top 5 Accuracy': top5}
        return [dict(Task='Image Classification', Dataset=data, Metrics=metrics)]
    tasks = {'Object Detection': 'box AP', 'Instance Segmentation': 'mask AP'}
    return [dict(Task=task, Dataset=data, Metrics={metric: value})
            for (task, metric), value in zip(tasks.items(), accuracy.values)]


if __name__ == '__main__':
    for folder in FOLDERS:
        (packaged_configs() / folder / 'metafile.yml').write_text(metafile(folder), encoding='utf-8')
