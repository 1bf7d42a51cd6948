"""The accelerated model computes what the plain one does, wherever it is, and leaves that as it was."""
import copy

import pytest
import torch
from helpers import VARIANTS, assert_same_function, random_model, randomise, relative_error, slow_except
from mmengine.registry import MODELS, init_default_scope
from torch.nn.modules.batchnorm import _BatchNorm

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.graph import FusedConv

SMALL = dict(depth=26, base_channels=16)


@pytest.mark.parametrize('name', slow_except(VARIANTS, 'v1', 'v1b', 'grouped SE', 'dilated', 'CIFAR', 'deformable'))
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


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('name', ['v1', 'v1b', 'grouped SE', 'DLA', 'Big-Little', 'CIFAR', 'shared head'])
def test_backends(backend, name):
    pytest.importorskip(backend)
    plain = random_model(VARIANTS[name])
    fast = accelerate(plain, backend)
    channels = 1024 if name == 'shared head' else 3
    for batch, height, width in ((1, 97, 64), (3, 33, 45)):
        assert_same_function(fast, plain, torch.randn(batch, channels, height, width))
    assert fast.out_channels == plain.out_channels
    with pytest.raises(ValueError, match='runs float32 on the CPU, not torch.float64 on cpu'):
        fast(torch.zeros(1, channels, 64, 64).double())


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
    with pytest.raises(ValueError, match="backend='tensorrt' must be one of pytorch, onnxruntime, openvino"):
        accelerate(Res2Net(**SMALL), 'tensorrt')
