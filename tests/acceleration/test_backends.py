"""The accelerated model computes what the plain one does, wherever it is, and leaves that as it was."""
import copy

import pytest
import torch
from helpers import (
    VARIANTS,
    assert_same_function,
    needs_compiler,
    random_model,
    randomise,
    relative_error,
    slow_except,
)
from mmengine.registry import MODELS, init_default_scope
from torch.nn.modules.batchnorm import _BatchNorm

from res2net_mm import Res2Net, accelerate_training
from res2net_mm.acceleration.accelerated import AcceleratedBackbone
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.fused_conv import FusedConv
from res2net_mm.models.backbones.base import Backbone

SMALL = dict(depth=26, base_channels=16)
SMALL_RES2NET = dict(SMALL, type='res2net_mm.Res2Net')


@pytest.mark.parametrize('name', slow_except(
    VARIANTS, 'v1', 'v1b', 'grouped SE', 'dilated', 'CIFAR', 'deformable', 'strided, hierarchical'))
def test_the_same_function(name):
    if name == 'deformable':
        pytest.importorskip('mmcv.ops')
    plain = random_model(VARIANTS[name])
    before = copy.deepcopy(plain.state_dict())
    fast = accelerate(plain)
    channels = 1024 if name == 'shared head' else 3
    for batch, height, width in ((1, 97, 64), (9, 33, 45)):  # the weights are packed for the first
        assert_same_function(fast, plain, torch.randn(batch, channels, height, width))
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
    assert any(isinstance(module, _BatchNorm) for module in plain.modules()) or 'no norms' in name
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules()) or name == 'deformable'
    assert any(isinstance(module, FusedConv) for module in fast.modules())
    assert fast.out_channels == plain.out_channels and not fast.training
    # Without oneDNN's kernels: where gradients are recorded, and in double precision.
    x = torch.randn(2, channels, 40, 40)
    for out, wanted in zip(fast(x), plain(x)):
        assert relative_error(out, wanted) < 1e-5
    assert_same_function(copy.deepcopy(fast).double(), copy.deepcopy(plain).double(), x.double(), 1e-6)


@pytest.mark.parametrize('batch', range(1, 10))
def test_every_batch_size(batch):
    plain = random_model(VARIANTS['v1'])
    assert_same_function(accelerate(plain), plain, torch.randn(batch, 3, 64, 64))


BACKBONE = dict(type='res2net_mm.Res2Net', depth=26, base_channels=16)
MODELS_OF_TOOLBOXES = {
    'mmdet': dict(type='RetinaNet', backbone=BACKBONE,
                  neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=16, num_outs=5),
                  bbox_head=dict(type='RetinaHead', num_classes=4, in_channels=16)),
    'mmseg': dict(type='EncoderDecoder', backbone=BACKBONE, test_cfg=dict(mode='whole'),
                  decode_head=dict(type='FCNHead', in_channels=512, channels=16, num_classes=4)),
    'mmpose': dict(type='TopdownPoseEstimator', backbone=dict(BACKBONE, out_indices=(3, )),
                   head=dict(type='HeatmapHead', in_channels=512, out_channels=3, loss=dict(type='KeypointMSELoss'),
                             deconv_out_channels=(16, ), deconv_kernel_sizes=(4, ))),
    'mmpretrain': dict(type='ImageClassifier', backbone=dict(BACKBONE, out_indices=(3, )),
                       neck=dict(type='GlobalAveragePooling'),
                       head=dict(type='LinearClsHead', num_classes=4, in_channels=512)),
}


@pytest.mark.parametrize('toolbox', MODELS_OF_TOOLBOXES)
def test_inside_a_toolbox(toolbox):
    pytest.importorskip(toolbox)
    init_default_scope(toolbox)
    __import__(f'{toolbox}.models')
    plain = randomise(MODELS.build(copy.deepcopy(MODELS_OF_TOOLBOXES[toolbox]))).eval()
    fast = accelerate(plain)
    assert type(fast) is type(plain) and not any(
        isinstance(module, _BatchNorm) for module in fast.backbone.modules())

    def outputs(model):
        with torch.no_grad():
            return list(flat(model(x, None, mode='tensor')))

    def flat(value):
        return (out for item in value for out in flat(item)) if isinstance(value, (tuple, list)) else [value]

    x = torch.randn(2, 3, 64, 64)
    pairs = list(zip(outputs(fast), outputs(plain)))
    assert pairs and all(relative_error(out, wanted) < 1e-5 for out, wanted in pairs)


def test_without_a_backbone_of_ours():
    with pytest.raises(ValueError, match='Linear has no backbone of res2net_mm in it'):
        accelerate(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="backend='tensorrt' must be one of auto, pytorch, native, native-direct"):
        accelerate(Res2Net(**SMALL), 'tensorrt')
    with pytest.raises(ValueError, match='accelerate: AcceleratedBackbone is accelerated already'):
        accelerate(accelerate(Res2Net(**SMALL)))


def test_a_backbone_under_two_names():
    plain = torch.nn.ModuleDict(dict(student=random_model(SMALL_RES2NET)))
    plain['teacher'] = plain['student']
    fast = accelerate(plain)
    assert fast['student'] is fast['teacher'] and isinstance(fast['student'], AcceleratedBackbone)
    assert_same_function(fast['student'], plain['student'], torch.randn(1, 3, 64, 64))


def test_a_backbone_inside_a_backbone():

    class Wrapped(Backbone):
        stage_channels, stage_strides, stem_modules = (512, ), (32, ), []

        def __init__(self):
            super().__init__((0, ), -1, False, False, None)
            self.inner = random_model(SMALL_RES2NET)
            self.layer1 = torch.nn.Conv2d(512, 512, 1)

        def forward_stem(self, x):
            return self.inner(x)[-1]

    plain = Wrapped().eval()
    fast = accelerate(plain)
    assert '46 convolutions' in fast.report
    assert_same_function(fast, plain, torch.randn(1, 3, 64, 64))


@needs_compiler
def test_of_a_model_that_is_accelerated_for_training():
    plain = random_model(SMALL_RES2NET)
    trained = accelerate_training(copy.deepcopy(plain))
    fast, x = accelerate(trained), torch.randn(1, 3, 64, 64)
    assert fast.report == accelerate(plain).report and not fast._forward_hooks
    assert_same_function(fast, plain, x)
    assert trained.layer1[0].executor is not None and len(trained._forward_hooks) == 1


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_made_in_any_mode_and_used_in_any(mode):
    plain = random_model(SMALL_RES2NET)
    with mode():
        fast = accelerate(plain)
        fast(torch.randn(1, 3, 64, 64))
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    grad, wanted = (torch.autograd.grad(model(x)[-1].square().sum(), x)[0] for model in (fast, plain))
    assert relative_error(grad, wanted) < 1e-4 and all(p.requires_grad for p in plain.parameters())
