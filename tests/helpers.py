"""What test modules share: models, runs on a handful of shapes, processes, and accelerated models beside plain ones."""
import copy
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import accelerate_training
from res2net_mm.models.names import ARCHS

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / 'configs'
TOOLS = ROOT / 'tools'

# 1. Models.

SMALL = dict(type='res2net_mm.Res2Net', depth=26, base_channels=16)
BACKBONES = {
    'v1': SMALL,
    'v1b': dict(SMALL, deep_stem=True, avg_down=True),
    'dilated': dict(SMALL, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    'grouped SE': dict(SMALL, groups=2, se_reduction=16),
    'strided': dict(SMALL, stage_pool='strided'),
    'ResNet': dict(SMALL, scales=1, base_width=64),
    'DLA': dict(type='res2net_mm.DLA'),
    'DLA-X': dict(type='res2net_mm.DLA', arch='dla60x'),
    'Big-Little': dict(type='res2net_mm.BLRes2Net', zero_init_residual=False),
    'CIFAR': dict(type='res2net_mm.CifarRes2NeXt', depth=11, groups=2, base_width=8),
    'CIFAR stage': dict(type='res2net_mm.CifarRes2NeXt', depth=11, groups=2, base_width=8, first_block='stage'),
}
VARIANTS = {  # of everything that acceleration has to keep
    **{name: dict(config) for name, config in BACKBONES.items()},
    **{name: dict(SMALL, arch=name) for name in ARCHS},
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
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model


def random_model(config):
    model = randomise(build(config)).eval()
    for name, parameter in model.named_parameters():
        if '.se.' in name:
            parameter.data *= 0.1  # or the sigmoid makes a step of every rounding
    return model


def relative_error(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


# 2. Commands, on the demo and a handful of shapes (the fixture ``shapes``).

DEMO = str(CONFIGS / 'demo_faster_rcnn_r2n26_shapes.py')
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


def train_in_processes(folder, config, processes, *arguments):
    """Train in processes of their own, on the CPU."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = {**os.environ, 'PORT': str(port), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{TOOLS.parent}:{folder}',
           'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}'}
    command = [TOOLS / 'dist_train.sh', config, str(processes)] if processes > 1 else [
        sys.executable, TOOLS / 'train.py', config]
    result = subprocess.run([*command, '--device', 'cpu', *arguments], cwd=folder, env=env, capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


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
