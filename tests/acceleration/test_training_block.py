"""Training through ``accelerate_training`` is plain training, up to rounding."""
import copy
import json
from types import SimpleNamespace

import cv2
import pytest
import torch
from helpers import (
    BACKBONES,
    CLASSIFIER,
    SMALL,
    Contiguous,
    assert_near,
    assert_same_state,
    assert_same_step,
    build,
    needs_compiler,
    randomise,
    slow_except,
    train_in_processes,
    training_pair,
    training_step,
)
from torch import nn

from res2net_mm import Res2Net, Res2SharedHead, accelerate_training
from res2net_mm.acceleration.training import kernels
from res2net_mm.acceleration.training.accelerate import remove_training_acceleration
from res2net_mm.acceleration.training.executor import FusedExecutor
from res2net_mm.acceleration.training.plan import can_be_fused
from res2net_mm.models.layers.bottle2neck import Bottle2neck

pytestmark = needs_compiler

BASE = dict(SMALL, base_channels=8)
VARIANTS = {
    **{name: dict(config) for name, config in BACKBONES.items() if name != 'grouped SE'},
    'ResNet-50': dict(SMALL, depth=None, arch='resnet50'),
    '8 splits': dict(BASE, scales=8, base_width=14),
    'grouped': dict(BASE, groups=2),
    'output stride 8': dict(BASE, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)),
    'caffe, multi-grid': dict(BASE, style='caffe', dilations=(1, 1, 1, 2), multi_grid=(1, 2)),
    'stage without a projection': dict(BASE, stem_channels=32, strides=(1, 2, 2, 2)),
    'stem': dict(BASE, out_indices=('stem', 0, 3)),
    'checkpointed': dict(BASE, with_cp=True),
    'frozen norms': dict(BASE, norm_eval=True),
    'frozen stages': dict(BASE, frozen_stages=2),
    'cumulative average': dict(BASE, norm_cfg=dict(type='BN', momentum=None)),
    'plugins in two stages': dict(BASE, plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv2',
                                                      stages=(False, True, True, False))]),
    'deformable stages': dict(BASE, dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, True, False, True)),
}


def executors(model):
    """What runs the blocks of a model."""
    return {block.executor for block in model.modules() if isinstance(block, Bottle2neck)}


@pytest.mark.parametrize('name', slow_except(
    VARIANTS, 'v1', 'v1b', 'strided, hierarchical', '8 splits', 'frozen norms', 'stem'))
def test_the_same_step(name, fused):
    if 'deformable' in name:
        pytest.importorskip('mmcv.ops')
    plain, fast = training_pair(VARIANTS[name])
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert_same_step(fast, plain, torch.randn(2, 3, 75, 46, dtype=torch.float64), 1e-9)
    blocks = [module for module in fast.modules() if isinstance(module, Bottle2neck)]
    expected = [block for block in blocks if can_be_fused(block)]
    assert len(expected) == len(blocks) or name in ('plugins in two stages', 'deformable stages')
    assert set(fused) == set(expected)

    fast.load_state_dict(plain.state_dict())
    fast.eval(), plain.eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        pairs = list(zip(fast(x), plain(x), strict=True))
    assert all(torch.equal(out, want) for out, want in pairs)


@pytest.mark.parametrize('name', ['v1', 'v1b', 'ResNet-50', 'output stride 8', 'checkpointed', 'frozen norms', 'stem'])
def test_the_same_step_in_single_precision(name):
    """Where a ReLU's input is near zero, rounding decides; in a small last stage one of them moves gradients by 10%."""
    plain, _ = training_pair(dict(VARIANTS[name], base_channels=8), torch.float32)
    x = torch.randn(4, 3, 64, 64)
    keep_relus_from_zero(plain, x)
    fast = accelerate_training(copy.deepcopy(plain))
    outs, grad_x, _ = training_step(fast, x)
    wanted, wanted_grad_x, _ = training_step(plain, x)
    assert all(out.is_contiguous() for out in outs)
    for out, want in zip((*outs, grad_x), (*wanted, wanted_grad_x), strict=True):
        assert_near(out, want, 1e-4)
    # A norm subtracts whatever a bias before it adds, so that gradients of such biases are nothing but rounding.
    whole = torch.cat([parameter.grad.flatten() for parameter in plain.parameters()]).norm()
    assert_same_state(fast, plain, 1e-3, 1e-5 * whole)


@torch.no_grad()
def keep_relus_from_zero(model, x):
    """Set the norms of all blocks so that every channel is positive, or negative, by 5 standard deviations and more."""
    for block in model.modules():
        if isinstance(block, Bottle2neck):
            for norm in (block.bn1, *block.bns):
                norm.bias[::2], norm.bias[1::2] = 8, -8
            for norm in (block.bn3, *(block.downsample or ())):
                if isinstance(norm, nn.BatchNorm2d):
                    norm.bias.fill_(8)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:  # frozen ones need the statistics, too
        norm.train().momentum = 1
    model(x)
    for norm in norms:
        norm.momentum = 0.1
    model.train()


def test_training_goes_on_alike():
    """Several steps of an optimizer, over images of several sizes; a copy of an accelerated model trains too."""
    plain, fast = training_pair(BASE)
    fast = copy.deepcopy(fast)
    optimizers = [torch.optim.SGD(model.parameters(), 0.1, momentum=0.9) for model in (plain, fast)]
    for size in (64, 75, 33):
        x = torch.randn(2, 3, size, 64, dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.zero_grad()
        assert_same_step(fast, plain, x, 1e-8)
        for optimizer in optimizers:
            optimizer.step()
    for parameter, wanted in zip(fast.parameters(), plain.parameters()):
        assert_near(parameter, wanted, 1e-9)


def test_gradients_accumulate():
    plain, fast = training_pair(BASE)
    for _ in range(3):
        assert_same_step(fast, plain, torch.randn(2, 3, 40, 40, dtype=torch.float64), 1e-9)


def test_backward_twice():
    _, fast = training_pair(BASE)
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    _, _, loss = training_step(fast, x, retain=True)
    first = [parameter.grad.clone() for parameter in fast.parameters()]
    fast.zero_grad()
    loss.backward()
    assert all(torch.equal(parameter.grad, grad) for parameter, grad in zip(fast.parameters(), first))


def test_shared_head():
    plain = randomise(Res2SharedHead(arch='res2net50_26w4s')).double().train()
    fast = accelerate_training(copy.deepcopy(plain))
    x = torch.randn(2, 1024, 5, 6, dtype=torch.float64)
    assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)


def test_a_part_that_is_frozen():
    """Gradients of the input alone, and of some weights alone."""
    plain, fast = training_pair(BASE)
    for model in (plain, fast):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_('layer2' in name and 'conv' in name)
    assert_same_step(fast, plain, torch.randn(2, 3, 64, 64, dtype=torch.float64), 1e-9)


def test_half_precision_runs_as_before(fused):
    plain, fast = training_pair(BASE, torch.float32)
    x = torch.randn(2, 3, 64, 64)
    with torch.autocast('cpu', torch.bfloat16):
        assert all(map(torch.equal, fast(x), plain(x)))
    assert not fused


def test_an_image_of_one_pixel_fails_as_before():
    for model in training_pair(BASE, torch.float32):
        with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
            model(torch.randn(1, 3, 32, 32))


def test_a_net_with_weights_that_are_not_numbers():
    net = accelerate_training(Res2Net(depth=26, base_channels=8))
    net.layer2[0].conv1.weight.data[0, 0] = float('nan')
    assert [bool(out.isnan().any()) for out in net(torch.randn(2, 3, 64, 64))] == [False, True, True, True]


def test_without_a_compiler(monkeypatch):

    def fail():
        raise RuntimeError('Ninja is required')

    monkeypatch.setattr(kernels, 'kernels', fail)
    kernels.find_compile_error.cache_clear()
    plain = randomise(build(BASE)).train()
    model = copy.deepcopy(plain)
    with pytest.warns(UserWarning, match='changes nothing.*cannot be compiled: Ninja is required'):
        assert accelerate_training(model) is model
    assert executors(model) == {None} and not model._forward_hooks
    model.layer1[0].executor = FusedExecutor()  # of a model that was saved where there is a compiler
    x = torch.randn(2, 3, 64, 64)
    with pytest.warns(UserWarning, match='cannot be compiled: Ninja is required'):
        outs = training_step(model, x)[0]
    for out, wanted in zip(outs, training_step(plain, x)[0]):
        assert torch.equal(out, wanted)
    kernels.find_compile_error.cache_clear()


@pytest.mark.parametrize('options', [
    dict(se_reduction=16), dict(norm_cfg=dict(type='GN', num_groups=1)), dict(norm_cfg=dict(type='SyncBN')),
    dict(plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv3')])], ids=str)
def test_no_such_block(options):
    model = build(BASE, **options)
    with pytest.raises(ValueError, match='accelerate_training: Res2Net has no block of convolutions and batch norms'):
        accelerate_training(model)
    assert executors(model) == {None}


def test_no_block_at_all():
    with pytest.raises(ValueError, match='accelerate_training: Linear has no block of convolutions and batch norms'):
        accelerate_training(nn.Linear(2, 2))


def test_twice():
    model = build(BASE)
    assert accelerate_training(accelerate_training(model)) is model
    assert len(executors(model)) == len(model._forward_hooks) == 1


def test_removed():
    """What is left is what was there before, also in a copy."""
    model = build(BASE)
    model.register_forward_hook(lambda *args: None)
    before = list(model._forward_hooks.values())
    fast = copy.deepcopy(accelerate_training(model))
    for accelerated in (model, fast):
        assert remove_training_acceleration(accelerated) is accelerated
        assert executors(accelerated) == {None} and not accelerated._forward_hooks_with_kwargs
        assert list(accelerated._forward_hooks.values()) == before
    remove_training_acceleration(nn.Linear(2, 2))


@pytest.mark.parametrize('wrapped', [False, True])
def test_hook(wrapped):
    from mmengine.model import MMDistributedDataParallel
    from mmengine.registry import HOOKS
    model = build(BASE)
    hook = HOOKS.build(dict(type='res2net_mm.AccelerateTraining'))
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    hook.before_train(SimpleNamespace(model=wrapper if wrapped else model))
    assert executors(model) != {None}


def test_channels_last_hook():
    from mmengine.registry import HOOKS
    # The comparison is in double precision: two images leave 8 values a channel in the last stage, where batch norm
    # enlarges the rounding of float32.
    images, outputs = torch.randn(2, 3, 64, 64, dtype=torch.float64), []
    for lay_out in (False, True):
        torch.manual_seed(0)
        model = build(BASE).double().train()
        if lay_out:
            HOOKS.build(dict(type='res2net_mm.ChannelsLast')).before_train(SimpleNamespace(model=model))
        outputs.append(model(images))
    plain, last = outputs
    assert not any(out.is_contiguous(memory_format=torch.channels_last) for out in plain)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in last)
    for expected, out in zip(plain, last):
        torch.testing.assert_close(out, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_the_same_losses(tmp_path):
    """Whole runs, in processes of their own, with batch norms at work."""
    pytest.importorskip('mmpretrain')
    pytest.importorskip('mmdet')
    (tmp_path / 'classifier.py').write_text(CLASSIFIER.replace("custom_imports = dict(imports=['average_loss'])\n", '')
                                            .replace("custom_hooks = [dict(type='AverageLoss')]\n", ''))
    for i in range(16):
        path = tmp_path / 'pictures' / 'ab'[i % 2] / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), torch.randint(0, 255, (96, 96, 3), dtype=torch.uint8).numpy())
    losses = {}
    for name, arguments in (('plain', ()), ('fast', ('--accelerate', ))):
        train_in_processes(tmp_path, 'classifier.py', 1, '--work-dir', name, *arguments, '--cfg-options',
              'model.backbone.norm_eval=False')
        rows = next((tmp_path / name).glob('*/vis_data/scalars.json')).read_text().splitlines()
        losses[name] = [json.loads(row)['loss'] for row in rows]
    assert len(set(losses['plain'])) == 4
    assert losses['fast'][0] == pytest.approx(losses['plain'][0], rel=1e-5)
    # Rounding may turn a ReLU, and with it a gradient by percents; the last loss is 80% above the one before.
    assert losses['fast'] == pytest.approx(losses['plain'], rel=1e-2)
    states = [torch.load(tmp_path / name / 'iter_4.pth', weights_only=False)['state_dict'] for name in losses]
    assert list(states[0]) == list(states[1])
