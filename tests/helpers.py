"""What test modules share: models, runs on a handful of shapes, processes, and accelerated models beside plain ones."""
import copy
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)
from PIL import Image
from torch import nn

from res2net_mm import accelerate_training
from res2net_mm.datasets.checks import BadDataError
from res2net_mm.datasets.shapes import CLASSES
from res2net_mm.models.names import ARCHITECTURES
from res2net_mm.utils.config import load_config
from res2net_mm.utils.config_types import config_class

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
TOOLS = ROOT / 'tools'
# What is compiled when it is first used runs nowhere else; all the rest does.
has_compiler = shutil.which(os.environ.get('CXX', 'c++')) is not None
needs_compiler = pytest.mark.skipif(not has_compiler, reason='there is no C++ compiler')
# Configs by name: all that can be trained, and the experiments among them.
LEAVES = sorted((path for path in CONFIGS.rglob('*.py') if path.parent.name != '_base_'), key=lambda path: path.name)
EXPERIMENTS = [path for path in LEAVES if path.parent.name != 'overfit' and not path.name.startswith('demo_')]


def config_path(name):
    """The config of this file name, wherever it lies."""
    path, = (path for path in LEAVES if path.name == name)
    return path


# 1. Models.

SMALL = dict(type='res2net_mm.Res2Net', depth=26, base_channels=16)
V1B = dict(deep_stem=True, avg_down=True)
BACKBONES = {
    'v1': SMALL,
    'v1b': dict(SMALL, **V1B),
    'dilated': dict(SMALL, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    'grouped SE': dict(SMALL, groups=2, se_reduction=16),
    'strided': dict(SMALL, stage_pool='strided'),
    'strided, hierarchical': dict(SMALL, stage_pool='strided_hierarchical'),
    'ResNet': dict(SMALL, scales=1, base_width=64),
    'DLA': dict(type='res2net_mm.DLA'),
    'DLA-X': dict(type='res2net_mm.DLA', arch='dla60x'),
    'Big-Little': dict(type='res2net_mm.BLRes2Net', zero_init_residual=False),
    'CIFAR': dict(type='res2net_mm.CifarRes2NeXt', depth=11, groups=2, base_width=8),
    'CIFAR stage': dict(type='res2net_mm.CifarRes2NeXt', depth=11, groups=2, base_width=8, first_block='stage'),
}
VARIANTS = {  # of everything that acceleration has to keep
    **{name: dict(config) for name, config in BACKBONES.items()},
    **{row.name: dict(SMALL, arch=row.name) for row in ARCHITECTURES if row.type == SMALL['type']},
    'output stride 8': dict(SMALL, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    'caffe, multi-grid': dict(SMALL, style='caffe', dilations=(1, 1, 1, 2), multi_grid=(1, 2)),
    'stem': dict(SMALL, out_indices=('stem', 0, 3)),
    'no norms that fold': dict(SMALL, norm_cfg=dict(type='GN', num_groups=1)),
    'SyncBN, checkpointed': dict(SMALL, norm_cfg=dict(type='SyncBN'), with_cp=True),
    'plugins': dict(SMALL, plugins=[
        dict(cfg=dict(type='ContextBlock', ratio=0.25), position=position, postfix=position)
        for position in ('after_conv1', 'after_conv2', 'after_conv3')]),
    'deformable': dict(SMALL, dcn=dict(type='DCNv2', deform_groups=1),
                       stage_with_dcn=(False, True, False, False)),
    'shared head': dict(type='res2net_mm.Res2SharedHead', arch='res2net50_26w4s'),
}


def build(config, **arguments):
    return MODELS.build(dict(config, **arguments))


def randomise(model):
    """Give every weight and every batch-norm statistic a random value of a size that keeps activations near 1."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            if module.track_running_stats:
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    for name, parameter in model.named_parameters():
        if '.se.' in name:
            parameter.data *= 0.1  # or the sigmoid makes a step of every rounding
    return model


def random_model(config):
    return randomise(build(config)).eval()


def relative_error(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


def on_meta(build, *arguments, **more):
    """Build a model without memory."""
    with torch.device('meta'):
        return build(*arguments, **more)


def numbered(state):
    """The weights of a model, each with a number of its own in all places, and with the memory of that number only."""
    return {key: torch.tensor(i, dtype=value.dtype).expand(value.shape) for i, (key, value) in enumerate(state.items())}


def small_state(**arguments):
    return numbered(on_meta(build, SMALL, **arguments).state_dict())


def other_library(library, name):
    """The weights of another library's model."""
    if library == 'timm':
        create_model = pytest.importorskip('timm').create_model
        return numbered(on_meta(create_model, name, num_classes=7).state_dict())
    models = pytest.importorskip(f'{library}.models')
    return numbered(getattr(models, name)(depth=50).state_dict())


# 2. Commands, on the demo and a handful of shapes (the fixture ``shapes``).

DEMO = str(config_path('demo_faster_rcnn_r2n26_shapes.py'))
REGISTRIES = (DATA_SAMPLERS, DATASETS, HOOKS, LOG_PROCESSORS, LOOPS, METRICS, MODELS, OPTIM_WRAPPERS, OPTIMIZERS,
              PARAM_SCHEDULERS, TASK_UTILS, TRANSFORMS, VISBACKENDS, VISUALIZERS)
FAST = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2',
        'default_hooks.logger.interval=1', 'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False', 'model.backbone.base_channels=8',
        'model.neck.in_channels=[32,64,128,256]']


def arguments(shapes, work_dir, *options):
    return ['--data-root', str(shapes), '--work-dir', str(work_dir), '--cfg-options', *FAST, *options]


def logged(work_dir):
    rows = [json.loads(line) for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
            for line in path.read_text().splitlines()]
    return [row['step'] for row in rows if 'loss' in row], [row for row in rows if 'coco/bbox_mAP' in row]


# A user's own classes, each of a subclass of a toolbox's.
OWN_CLASSES = """
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.models import FasterRCNN
from mmdet.registry import DATASETS, HOOKS, MODELS, TRANSFORMS


@MODELS.register_module()
class OwnDetector(FasterRCNN):
    pass


@DATASETS.register_module()
class OwnDataset(CocoDataset):
    pass


@TRANSFORMS.register_module()
class ReadBoxes(LoadAnnotations):
    pass


@HOOKS.register_module()
class OwnDrawing(DetVisualizationHook):
    def __init__(self, colour='red', **arguments):
        super().__init__(**arguments)
"""
OWN_CONFIG = """
_base_ = {base!r}
custom_imports = dict(imports=['own_classes'])
model = dict(type='OwnDetector')
train_dataloader = dict(dataset=dict(type='OwnDataset', pipeline={pipeline!r}))
val_dataloader = dict(dataset=dict(type='OwnDataset'))
test_dataloader = val_dataloader
default_hooks = dict(visualization=dict(type='OwnDrawing'))
"""


class ClassName(str):
    """A name that stands in a config without quotes."""

    __repr__ = str.__str__


def write_lazy_config(path, cfg):
    """Write a config in mmengine's new style, with classes instead of their names and without a default scope."""
    modules = {}

    def with_classes(value):
        if isinstance(value, (list, tuple)):
            return type(value)(map(with_classes, value))
        if not isinstance(value, dict):
            return value
        kinds = [config_class(value, kind, cfg.default_scope) for kind in REGISTRIES if 'type' in value]
        kind = next((kind for kind in kinds if kind is not object), None)  # a function of mmcv.ops keeps its name
        value = {key: with_classes(item) for key, item in value.items()}
        if kind:
            parts = kind.__module__.split('.')
            packages = ('.'.join(parts[:end]) for end in range(1, len(parts) + 1))  # the first that exports it
            modules[kind.__name__] = next(
                package for package in packages if getattr(sys.modules[package], kind.__name__, None) is kind)
            value['type'] = ClassName(kind.__name__)
        return value

    settings = {name: with_classes(value) for name, value in cfg.to_dict().items()
                if name not in ('default_scope', 'custom_imports')}
    lines = ['from mmengine.config import read_base', 'with read_base():', '    from .empty import *',
             *(f'from {module} import {name}' for name, module in modules.items()),
             *(f'{name} = {value!r}' for name, value in settings.items()), 'default_scope = None']
    (path.parent / 'empty.py').write_text('nothing = None\n')
    path.write_text('\n'.join(lines) + '\n')


def write_config_styles(folder):
    """The demo's config with the classes of ``OWN_CLASSES``: by style, its file; the folder must be in sys.path."""
    (folder / 'own_classes.py').write_text(OWN_CLASSES)
    pipeline = load_config(DEMO).train_dataloader.dataset.pipeline
    pipeline[1].type = 'ReadBoxes'
    paths = {style: folder / f'{style}.py' for style in ('names', 'classes')}
    paths['names'].write_text(OWN_CONFIG.format(base=DEMO, pipeline=[dict(step) for step in pipeline]))
    write_lazy_config(paths['classes'], load_config(paths['names']))
    return paths


def expect_failure(capsys, run, argv, message):
    with pytest.raises(SystemExit) as stop:
        run(argv)
    said = str(stop.value.code) + capsys.readouterr().err
    assert stop.value.code not in (0, None)
    assert re.search(message, said), said


# 3. Processes.

# A small classifier with frozen batch norms: its loss is a mean over images, so that the mean over processes is exact.
CLASSIFIER = """
default_scope = 'mmpretrain'
randomness = dict(seed=3)
env_cfg = dict()
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, norm_eval=True, out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=256, loss=dict(type='CrossEntropyLoss')))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='CustomDataset', data_root='pictures',
                 pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3)]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(type='LoggerHook', interval=1),
                     checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False))
log_processor = dict(by_epoch=False, window_size=1)
custom_imports = dict(imports=['average_loss'])
custom_hooks = [dict(type='AverageLoss')]
"""
# mmengine logs the loss of the first process.
AVERAGE_LOSS = """
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class AverageLoss(Hook):
    priority = 'HIGHEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        all_reduce(outputs['loss'], 'mean')
"""


def write_pictures(folder):
    """The 16 images of CLASSIFIER, of two classes."""
    rng = np.random.default_rng(0)
    for i in range(16):
        path = folder / 'pictures' / 'ab'[i % 2] / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))


def free_port():
    """A port that no process listens on, as text."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def train_in_processes(folder, config, processes, *arguments):
    """Train in processes of their own, on the CPU."""
    result = run_in_processes(folder, config, processes, *arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


def python_path(*folders):
    """A PYTHONPATH of these folders, and then of what it is already."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get('PYTHONPATH')])])


def run_in_processes(folder, config, processes, *arguments):
    """The same, however the command ends."""
    env = {**os.environ, 'PORT': free_port(), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(TOOLS.parent, folder),
           'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    command = [TOOLS / 'dist_train.sh', config, str(processes)] if processes > 1 else [
        sys.executable, TOOLS / 'train.py', config]
    return subprocess.run([*command, '--device', 'cpu', *arguments], cwd=folder, env=env, capture_output=True,
                          text=True)


# 4. Acceleration.


def slow_except(names, *quick):
    """Parameters of a test, marked as slow except for those that stand for the others while one works."""
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]


def assert_same_function(fast, plain, x, tolerance=1e-5):
    """An accelerated model returns what the plain one does, twice, and leaves the images as they were."""
    with torch.no_grad():
        before = x.clone()
        expected, outs = plain(x), fast(x)
        again = fast(x)
    assert torch.equal(x, before)
    if isinstance(outs, torch.Tensor):
        expected, outs, again = [expected], [outs], [again]
    assert len(outs) == len(expected)
    for out, repeated, wanted in zip(outs, again, expected):
        assert relative_error(out, wanted) < tolerance and relative_error(repeated, wanted) < tolerance
        assert out.is_contiguous()  # mmcv's RoIAlign does not ask


def channels_last(*shape, dtype=torch.float32):
    """Random numbers, with the channels of a pixel together."""
    return torch.randn(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def assert_near(out, wanted, tolerance, name='', rounding=1e-13):
    """The difference of two tensors is small beside the second; there are gradients that are zero but for rounding."""
    assert out.shape == wanted.shape, name
    error, size = (out.double() - wanted.double()).norm(), wanted.double().norm()
    assert error <= tolerance * size + rounding, f'{name}: {error} of {size}'


def training_pair(config, dtype=torch.float64):
    """A plain model in training, and its accelerated copy."""
    config = {key: value for key, value in config.items() if value is not None}
    plain = randomise(build(config)).to(dtype).train()
    fast = copy.deepcopy(plain)
    assert accelerate_training(fast) is fast
    return plain, fast


def training_step(model, x, retain=False):
    """The outputs of a step, and the gradients of its input."""
    x = x.clone().requires_grad_()
    outs = model(x)
    generator = torch.Generator().manual_seed(1)
    loss = sum((out * torch.randn(out.shape, generator=generator).to(out.dtype)).mean() for out in outs)
    loss.backward(retain_graph=retain)
    return outs, x.grad, loss


def assert_same_step(fast, plain, x, tolerance):
    """A step of two models gives the same outputs, gradients and running statistics."""
    outs, grad_x, _ = training_step(fast, x)
    wanted, wanted_grad_x, _ = training_step(plain, x)
    for out, want in zip(outs, wanted, strict=True):
        assert_near(out, want, tolerance, 'output')
        assert out.is_contiguous()
    if wanted_grad_x is not None:
        assert_near(grad_x, wanted_grad_x, tolerance, 'input')
    assert_same_state(fast, plain, tolerance)


def assert_same_state(fast, plain, tolerance, rounding=1e-13):
    """Two models have the same gradients, in the same layout, and the same running statistics."""
    for (name, parameter), (other, wanted) in zip(fast.named_parameters(), plain.named_parameters(), strict=True):
        assert name == other and (parameter.grad is None) == (wanted.grad is None), name
        if wanted.grad is not None:
            assert parameter.grad.is_contiguous() == wanted.grad.is_contiguous(), name
            assert_near(parameter.grad, wanted.grad, tolerance, name, rounding)
    for (name, buffer), (other, wanted) in zip(fast.named_buffers(), plain.named_buffers(), strict=True):
        assert name == other
        assert_near(buffer, wanted, tolerance, name)


class Contiguous(nn.Module):
    """The end of a chain of blocks, as of a backbone."""

    def forward(self, x):
        return (x.contiguous(), )
# 4. Bad data, and configs to check it with.


def cut(path):
    """Cut the last third off a file."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])


def write_turned_image(path, orientation=None):
    """An image of 40 x 64 pixels (height x width) as they are stored, with an EXIF orientation or without."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8))
    multiple = dict(format='MPO', save_all=True, append_images=[image]) if path.suffix == '.mpo' else {}
    image.save(path, exif=exif, **multiple)


def write_image_bomb(path, side):
    """A black PNG of side x side pixels, a bit each, written row by row."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    compress = zlib.compressobj()
    rows = [compress.compress(bytes((side + 7) // 8 + 1)) for _ in range(side)]
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0))
                     + chunk(b'IDAT', b''.join([*rows, compress.flush()])) + chunk(b'IEND', b''))


def expect_bad_data(message, check, *args):
    with pytest.raises(BadDataError) as error:
        check(*args)
    assert re.search(message, str(error.value), re.DOTALL), error.value


def detection_config(root, split='train', **options):
    """The data of a detector, as far as the checks look at them."""
    data = dict(type='CocoDataset', data_root=str(root), ann_file=f'annotations/instances_{split}2017.json',
                data_prefix=dict(img=f'{split}2017/'), metainfo=dict(classes=CLASSES), test_mode=split == 'val',
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)], **options)
    return ConfigDict({'default_scope': 'mmdet', f'{split}_dataloader': dict(dataset=data)})


def segmentation_config(root, split):
    """The data of a segmentor with two classes, as far as the checks look at them."""
    pytest.importorskip('mmseg')
    data = dict(type='BaseSegDataset', data_root=str(root), ann_file=str(root / 'names.txt'),
                data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
                metainfo=dict(classes=('nothing', 'thing')), test_mode=split == 'val',
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    return ConfigDict({'default_scope': 'mmseg', f'{split}_dataloader': dict(dataset=data)})


def crop_mask(path):
    cv2.imwrite(str(path), cv2.imread(str(path), -1)[:40])


def write_unknown_label(path):
    cv2.imwrite(str(path), np.full((48, 64), 2, np.uint8))


def write_coloured_mask(path):
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))


MASK_DEFECTS = [  # of the second image of the fixture ``masks``: the file, what to do to it, and what is said of it
    ('JPEGImages/b.jpg', Path.unlink, 'does not exist'),
    ('JPEGImages/b.jpg', cut, 'is cut off'),
    ('SegmentationClass/b.png', Path.unlink, 'does not exist'),
    ('SegmentationClass/b.png', cut, 'is cut off'),
    ('SegmentationClass/b.png', crop_mask, 'mask of 40 x 64 pixels for an image of 48 x 64'),
    ('SegmentationClass/b.png', write_unknown_label, 'mask with label 2; allowed are 0 to 1 and 255'),
    ('SegmentationClass/b.png', write_coloured_mask, 'must have one channel'),
]

# 5. Images with salient objects.

SALIENCY_SIZES = [(64, 64), (47, 64), (64, 51), (40, 60), (64, 40)]  # of the images of each set of ``saliency_sets``
# Masks: every grey once, and a box of ones.
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
BOX = np.zeros((16, 16), np.uint8)
BOX[4:9, 5:12] = 1


def write_image(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_saliency_pair(image, mask, seed, size, values=255):
    """A noisy image with a bright box, and its mask."""
    rng = np.random.default_rng(seed)
    label = np.zeros(size, np.uint8)
    top, left = rng.integers(4, 16, 2)
    label[top:top + 20, left:left + 22] = values
    write_image(image, rng.integers(0, 90, (*size, 3), np.uint8) + (label > 0)[..., None] * np.uint8(120))
    write_image(mask, label)


def saliency_sample(labels, **metainfo):
    """Labels (h, w) as mmseg packs them."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    size = tuple(labels.shape[-2:])
    return SegDataSample(gt_sem_seg=PixelData(data=labels.reshape(1, *size)),
                         metainfo=dict(ori_shape=size, img_shape=size, **metainfo))


# Network.

NO_NETWORK = """
import os, socket

def refuse(*arguments, **settings):
    with open(os.environ['NETWORK_LOG'], 'a') as log:  # also what a caller swallows is found there
        print(arguments, file=log)
    raise OSError(f'no network: {arguments}')

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.gethostbyname = socket.gethostbyname_ex = refuse
"""


def without_network(folder):
    """The environment of Python processes that cannot reach the network, and the file where they log every try."""
    (folder / 'sitecustomize.py').write_text(NO_NETWORK)
    log = folder / 'network.log'
    log.touch()
    return {**os.environ, 'PYTHONPATH': f'{folder}:{ROOT}', 'NETWORK_LOG': str(log)}, log


# 6. Small models of every task.

SMALL_BACKBONE = "type='res2net_mm.Res2Net', depth=26, base_channels=8"
SMALL_TEST_DATA = """
test_dataloader = dict(dataset=dict(type='{}', metainfo=dict(classes=('upright', 'level')), pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='LoadAnnotations'), dict(type='{}')]))
"""
SMALL_DETECTOR = f"""
_base_ = 'mmdet::_base_/models/{{}}-rcnn_r50_fpn.py'
default_scope = 'mmdet'
model = dict(
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.] * 3, std=[64.] * 3, pad_size_divisor=32),
    backbone=dict(_delete_=True, {SMALL_BACKBONE}),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=16), rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=16),
                  bbox_head=dict(in_channels=16, fc_out_channels=16, num_classes=2){{}}),
    test_cfg=dict(rcnn=dict(score_thr=0., max_per_img=10)))
visualizer = dict(type='DetLocalVisualizer')
{SMALL_TEST_DATA.format('CocoDataset', 'PackDetInputs')}"""
SMALL_MODELS = {  # configs by task
    'classification': f"""
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[127.] * 3, std=[64.] * 3, num_classes=2)
model = dict(
    type='ImageClassifier', backbone=dict({SMALL_BACKBONE}, out_indices=(3, )), neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=256, loss=dict(type='CrossEntropyLoss')))
test_dataloader = dict(dataset=dict(
    type='CustomDataset', metainfo=dict(classes=('upright', 'level')),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64)), dict(type='PackInputs')]))
""",
    'detection': SMALL_DETECTOR.format('faster', ''),
    'masks': SMALL_DETECTOR.format('mask', """,
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_convs=1, num_classes=2)"""),
    'segmentation': f"""
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder', backbone=dict({SMALL_BACKBONE}),
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.] * 3, std=[64.] * 3, test_cfg=dict(size_divisor=32)),
    decode_head=dict(type='FCNHead', in_channels=256, channels=8, num_classes=2, num_convs=1),
    test_cfg=dict(mode='whole'))
visualizer = dict(type='SegLocalVisualizer')
{SMALL_TEST_DATA.format('BaseSegDataset', 'PackSegInputs')}""",
    'saliency': f"""
_base_ = {str(config_path('dss_r2n50.py').parents[1] / 'overfit' / 'dss_r2n50.py')!r}
model = dict(backbone=dict(depth=26, base_channels=8),
             decode_head=dict(in_channels=(8, 32, 64, 128, 256), channels=(8, 8, 8, 8, 8)))
""",
    'keypoints': f"""
_base_ = {str(config_path('simplebaseline_r2n50.py').parents[1] / 'overfit' / 'simplebaseline_r2n50.py')!r}
model = dict(backbone=dict(depth=26, base_channels=8, init_cfg=None),
             head=dict(in_channels=256, deconv_out_channels=(16, 16, 16)))
""",
}


def write_small_model(folder, task, change='', meta=None):
    """Write a small model with random weights: its config, with a change at its end, and its checkpoint."""
    from mmengine.registry import DefaultScope
    config, checkpoint = folder / f'{task}.py', folder / f'{task}.pth'
    config.write_text(SMALL_MODELS[task] + change)
    cfg = load_config(config)
    settings = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        settings.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        model = MODELS.build(settings)
    if 'roi_head' not in settings:  # a detector that is sure of everything finds nothing but the image
        randomise(model)
    torch.save(dict(state_dict=model.state_dict(), meta=meta or {}), checkpoint)
    return str(config), str(checkpoint)
