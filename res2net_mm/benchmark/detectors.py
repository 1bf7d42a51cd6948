"""What ``benchmark_models.py`` does: images per second of whole models, with our backbones and the toolboxes'.

A config of ours is built with its own backbone, plain and accelerated, with the toolbox's ResNet of the same depth, and
with the toolbox's Res2Net where there is one; all else stays as it is. Weights are random, images are noise. They go
through the model's preprocessor and its ``predict``, as in a test, without reading a file.

What a detector does with its boxes depends on what it has learned, so that is fixed: as many proposals as the config
allows (none suppresses another), since a trained one finds as many in a photo, and no detections (no score is over 1).
"""
import argparse
import copy
import json
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from ..acceleration.backends import BACKENDS, accelerate
from ..cli.command import run_tool
from ..models.names import RES2NET_ARGUMENTS, resolve
from ..models.parts import backbone_and_neck
from ..utils.config import load_config
from ..utils.text import markdown_table
from . import timing as measuring

OURS = 'res2net_mm.Res2Net'
SAMPLES = dict(mmdet='DetDataSample', mmseg='SegDataSample', mmpose='PoseDataSample', mmpretrain='DataSample')
NOT_OF_RESNET = (*RES2NET_ARGUMENTS, 'arch', 'stage_pool')  # arguments of our backbone; some say what a ResNet is, too


def main(argv=None):
    """Time whole models: the command ``tools/analysis_tools/benchmark_models.py``."""
    parser = argparse.ArgumentParser(
        description='Compare images per second of whole models: with our backbone, plain and accelerated, and with '
                    'those of the toolbox.')
    parser.add_argument('configs', nargs='+', metavar='CONFIG',
                        help="configs of models with our Res2Net, files or 'res2net_mm::NAME.py'")
    parser.add_argument('--backends', nargs='*', choices=BACKENDS, default=['pytorch'], metavar='NAME',
                        help=f'what runs accelerated backbones, of {", ".join(BACKENDS)} (pytorch)')
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1], metavar='N', help='(1)')
    parser.add_argument('--image-size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'),
                        help="in pixels (that of each config's test pipeline)")
    measuring.measuring_arguments(parser, 'benchmark_models', rounds=15)
    args = measuring.parse(parser, argv)
    run_tool(run, args)


def run(args, device):
    measuring.check_least(args, batch_sizes=1, rounds=1, **(dict(image_size=32) if args.image_size else {}))
    outside = set(args.backends) & {'onnxruntime', 'openvino'}
    if outside and (device.type != 'cpu' or args.dtype != 'float32'):
        raise ValueError(f'--backends {" ".join(sorted(outside))}: run on the CPU and in float32 only')
    configs = {Path(path.rpartition('::')[2]).stem: load_config(path) for path in args.configs}
    sizes = {name: tuple(args.image_size or size_of_test_images(name, cfg)) for name, cfg in configs.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    report = dict(measuring.settings(args), rows=[])
    written = [args.out / f'benchmark_models.{kind}' for kind in ('json', 'md')]
    for name, cfg in configs.items():
        models = build(cfg, args.backends, device, getattr(torch, args.dtype), args.channels_last)
        for batch_size in args.batch_sizes:
            report['rows'] += measure(name, cfg, models, batch_size, sizes[name], args.rounds)
            written[0].write_text(json.dumps(report, indent=1) + '\n')  # what there is so far
            written[1].write_text(page(report, device), encoding='utf-8')
    print(table(report['rows'], HEADS))
    print('written:', *written, sep='\n  ')


# 1. The models.


def build(cfg, backends, device, dtype, channels_last):
    """Build the model of a config with every backbone, each with weights of the same seed.

    Args:
        cfg (mmengine.Config): The config.
        backends (list[str]): Keys of ``acceleration.BACKENDS``.
        device (torch.device): Where they go.
        dtype (torch.dtype): The type that backbone and neck compute in; what follows them has float32.
        channels_last (bool): Whether the channels of a pixel are together in backbone and neck.

    Returns:
        dict[tuple[str, str], nn.Module]: Models by backbone and path, the first with our backbone as it is.
    """
    scope = cfg.default_scope
    init_default_scope(scope)
    import_module(f'{scope}.models')
    models = {}
    for name, backbone in backbones(cfg.model.backbone, scope).items():
        torch.manual_seed(0)
        config = copy.deepcopy(cfg.model)
        config.backbone = backbone
        fix_boxes(config.get('test_cfg'))
        plain = models[name, 'eager'] = MODELS.build(config).eval()
        for backend in backends if name == OURS else ():
            models[name, 'accelerate' if backend == 'pytorch' else f'accelerate-{backend}'] = accelerate(plain, backend)
    for model in models.values():
        model.to(device)
        compute_in(model, dtype, torch.channels_last if channels_last else torch.contiguous_format)
    return models


def backbones(ours, scope):
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
    arch = ours.get('arch', 'res2net50_26w4s')
    values = {key: ours[key] for key in RES2NET_ARGUMENTS if ours.get(key) is not None}
    values = {**resolve(arch).arguments, **values}
    resnet = {key: value for key, value in ours.items() if key not in NOT_OF_RESNET}
    resnet.update(type=f'{scope}.ResNet', **{key: values[key] for key in ('depth', 'deep_stem', 'avg_down')})
    resnet.setdefault('out_indices', (0, 1, 2, 3))
    found = {OURS: ours, resnet['type']: resnet}
    has_it = MODELS.get(f'{scope}.Res2Net') is not None
    if has_it and values['scales'] > 1 and values['groups'] == 1 and not values['se_reduction']:
        found[f'{scope}.Res2Net'] = dict(
            resnet, type=f'{scope}.Res2Net', scales=values['scales'], base_width=values['base_width'])
    return found


def fix_boxes(test_cfg):
    """Have a detector's test settings keep all proposals and no detections, wherever they say so. In place."""
    for key, value in test_cfg.items() if isinstance(test_cfg, dict) else ():
        if key == 'rpn':
            value['nms']['iou_threshold'] = 1.
        elif key == 'score_thr':
            test_cfg[key] = 1.
        for each in value if isinstance(value, (list, tuple)) else [value]:
            fix_boxes(each)


def compute_in(model, dtype, layout):
    """Have backbone and neck compute in a type and a memory format; what comes in and out is as it was."""
    if (dtype, layout) == (torch.float32, torch.contiguous_format):
        return
    parts = backbone_and_neck(model)
    for part in parts:
        part.to(dtype=dtype, memory_format=layout)
    parts[0].register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype=dtype, memory_format=layout), ))
    parts[-1].register_forward_hook(lambda *call: tuple(out.float().contiguous() for out in call[-1]))


# 2. What they see.


def size_of_test_images(name, cfg):
    """The size that a config's test pipeline brings images to, at most.

    Returns:
        tuple[int, int]: Height and width.

    Raises:
        ValueError: If the pipeline does not say.
    """
    for transform in reversed(cfg.test_dataloader.dataset.get('pipeline', [])):
        for key in ('scale', 'input_size', 'crop_size'):
            if transform.get(key):
                width, height = [transform[key]] * 2 if isinstance(transform[key], int) else transform[key]
                return height, width
    raise ValueError(f"--image-size: must be given, since the test pipeline of '{name}' names none")


def noise(scope, model, batch_size, height, width):
    """A batch as a data loader would give it: images of noise, and what a head has to know of them."""
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


# 3. Measuring and results.


def measure(name, cfg, models, batch_size, size, rounds):
    """Time every model of a config on a batch.

    Args:
        name (str): Name of the config.
        cfg (mmengine.Config): The config.
        models (dict[tuple[str, str], nn.Module]): What ``build`` returns.
        batch_size (int): Images at once.
        size (tuple[int, int]): Height and width of the images.
        rounds (int): How often everything is timed.

    Returns:
        list[dict]: A row for every model, with ``seconds`` of every round; ``to_resnet`` and ``to_ours`` are ratios to
        the toolbox's ResNet, and to our Res2Net as it is.
    """
    batch = noise(cfg.default_scope, next(iter(models.values())), batch_size, *size)
    seconds = measuring.time_rounds([partial(model.test_step, batch) for model in models.values()], rounds)
    of = dict(zip(models, seconds))
    resnet, ours = of[f'{cfg.default_scope}.ResNet', 'eager'], seconds[0]
    return [dict(config=name, backbone=backbone, path=path, batch_size=batch_size, image_size=size,
                 images_per_second=batch_size / median(values), to_resnet=measuring.ratio(values, resnet),
                 to_ours=measuring.ratio(values, ours), seconds=values) for (backbone, path), values in of.items()]


HEADS = ('config', 'image', 'batch', 'backbone', 'path', 'images/s', '/ ResNet', '/ ours, eager')
PAGE = """# Whole models

Measured with `tools/analysis_tools/benchmark_models.py {command}`: {measured}.

A config of ours with its own backbone, and with the toolbox's; random weights, images of noise, through the
preprocessor and `predict`. Backbone and neck compute in {dtype}, the rest in float32. Detectors keep as many proposals
as they may, and no detections. */ ResNet* and */ ours* are times divided by those of the toolbox's ResNet and
of our backbone as it is: medians over the rounds ± half the distance of the quartiles; under 1 is faster. mmdet's
Res2Net has v1b's stem and shortcuts, whatever the config.

{table}
"""


def page(report, device):
    """The Markdown page, without absolute times if they are a CPU's."""
    heads = [head for head in HEADS if device.type == 'cuda' or head != 'images/s']
    return PAGE.format(command=report['command'], measured=measuring.MEASURED.format(**report), dtype=report['dtype'],
                       table=table(report['rows'], heads))


def table(rows, heads):
    """A Markdown table with some of the columns in ``HEADS``."""
    spread = measuring.spread
    lines = [dict(zip(HEADS, (row['config'], '×'.join(map(str, row['image_size'])), row['batch_size'], row['backbone'],
                              row['path'], f'{row["images_per_second"]:.2f}', spread(row['to_resnet']),
                              spread(row['to_ours'])))) for row in rows]
    return markdown_table(heads, [[line[head] for head in heads] for line in lines])
