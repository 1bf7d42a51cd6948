"""The accelerated model computes what the plain one does, wherever it is, and leaves that as it was."""
import copy

import pytest
import torch
from helpers import VARIANTS, random_model, randomise, relative_error
from mmengine.registry import MODELS, init_default_scope
from torch.nn.modules.batchnorm import _BatchNorm

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.graph import FusedConv

SMALL = dict(depth=26, base_channels=16)


def assert_equal(fast, plain, x, tolerance=1e-5):
    with torch.no_grad():
        given = x.clone()
        expected, outs = plain(x), fast(x)
        again = fast(x)
    assert torch.equal(x, given)
    if isinstance(outs, torch.Tensor):
        expected, outs, again = [expected], [outs], [again]
    assert len(outs) == len(expected)
    for out, repeated, wanted in zip(outs, again, expected):
        assert relative_error(out, wanted) < tolerance and relative_error(repeated, wanted) < tolerance
        assert out.is_contiguous()  # mmcv's RoIAlign does not ask


@pytest.mark.parametrize('name', VARIANTS)
def test_the_same_function(name):
    if name == 'deformable':
        pytest.importorskip('mmcv.ops')
    plain = random_model(VARIANTS[name])
    before = copy.deepcopy(plain.state_dict())
    fast = accelerate(plain)
    channels = 1024 if name == 'shared head' else 3
    for batch, height, width in ((1, 97, 64), (9, 33, 45)):  # the weights are packed for the first
        assert_equal(fast, plain, torch.randn(batch, channels, height, width))
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
    assert any(isinstance(module, _BatchNorm) for module in plain.modules()) or 'no norms' in name
    assert not any(isinstance(module, _BatchNorm) for module in fast.modules()) or name == 'deformable'
    assert any(isinstance(module, FusedConv) for module in fast.modules())
    assert fast.out_channels == plain.out_channels and not fast.training
    # Without oneDNN's kernels: where gradients are recorded, and in double precision.
    x = torch.randn(2, channels, 40, 40)
    for out, wanted in zip(fast(x), plain(x)):
        assert relative_error(out, wanted) < 1e-5
    assert_equal(copy.deepcopy(fast).double(), copy.deepcopy(plain).double(), x.double(), 1e-6)


@pytest.mark.parametrize('batch', range(1, 10))
def test_every_batch_size(batch):
    plain = random_model(VARIANTS['v1'])
    assert_equal(accelerate(plain), plain, torch.randn(batch, 3, 64, 64))


def test_nothing_is_left_to_do_alone():
    """Batch norms, additions of shortcuts and ReLUs are all in convolutions; the additions between splits are not."""
    fast = accelerate(random_model(VARIANTS['v1']))
    convs = [module for module in fast.modules() if isinstance(module, FusedConv)]
    blocks = 8
    assert len(convs) == 1 + blocks * 5 + 4  # stem; conv1, three K and conv3; shortcuts of four stages
    assert sum(conv.relu for conv in convs) == len(convs) - 4
    assert sum(conv.overwrites_addend for conv in convs) == blocks
    left = [type(module).__name__ for module in fast.modules() if not list(module.children())]
    assert set(left) == {'FusedConv', 'MaxPool2d', 'AvgPool2d'}
    assert sum('add' in str(node.target) for node in fast.graph.nodes) == 4 * 2  # a block a stage, s - 2 additions


def test_stages_that_are_returned_are_not_overwritten():
    """Without a projection, the next stage could add onto the output of the last."""
    plain = randomise(Res2Net(depth=26, base_channels=16, stem_channels=64, strides=(1, 1, 1, 1))).eval()
    assert_equal(accelerate(plain), plain, torch.randn(2, 3, 32, 32))


def test_a_copy_of_a_used_one():
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain), torch.randn(1, 3, 64, 64)
    assert_equal(fast, plain, x)
    assert_equal(copy.deepcopy(fast), plain, x)
    with torch.no_grad():
        half = copy.deepcopy(fast).bfloat16()(x.bfloat16())
    assert half[-1].dtype == torch.bfloat16 and relative_error(half[-1].float(), fast(x)[-1]) < 0.1


@pytest.mark.parametrize('export', ['compile', 'jit', 'onnx'])
def test_it_can_be_compiled_and_exported(export, tmp_path):
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        if export == 'compile':
            torch._dynamo.reset()
            exported = torch.compile(fast, fullgraph=True, backend='aot_eager')
        elif export == 'jit':
            exported = torch.jit.trace(fast, x)
        else:
            runtime = pytest.importorskip('onnxruntime')
            path = str(tmp_path / 'fast.onnx')
            torch.onnx.export(fast, (x, ), path, dynamo=False)
            session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
            name = session.get_inputs()[0].name
            exported = lambda x: [torch.from_numpy(out) for out in session.run(None, {name: x.numpy()})]  # noqa: E731
        assert_equal(exported, plain, x)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('name', ['v1', 'v1b', 'grouped SE', 'DLA', 'Big-Little', 'CIFAR', 'shared head'])
def test_backends(backend, name):
    pytest.importorskip(backend)
    plain = random_model(VARIANTS[name])
    fast = accelerate(plain, backend)
    channels = 1024 if name == 'shared head' else 3
    for batch, height, width in ((1, 97, 64), (3, 33, 45)):
        assert_equal(fast, plain, torch.randn(batch, channels, height, width))
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
            found = model(x, None, mode='tensor')
        return list(flat(found))

    def flat(value):
        return (each for item in value for each in flat(item)) if isinstance(value, (tuple, list)) else [value]

    x = torch.randn(2, 3, 64, 64)
    pairs = list(zip(outputs(fast), outputs(plain)))
    assert pairs and all(relative_error(ours, theirs) < 1e-5 for ours, theirs in pairs)


def test_without_a_backbone_of_ours():
    with pytest.raises(ValueError, match='Linear has no backbone of res2net_mm in it'):
        accelerate(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="backend='tensorrt' must be one of pytorch, onnxruntime, openvino"):
        accelerate(Res2Net(**SMALL), 'tensorrt')
