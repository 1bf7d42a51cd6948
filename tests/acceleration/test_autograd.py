"""FusedBlock's gradients, against numerical ones, and what chains of blocks keep."""
import copy
import gc

import pytest
import torch
from helpers import (
    SMALL,
    Contiguous,
    assert_near,
    assert_same_state,
    assert_same_step,
    build,
    needs_compiler,
    randomise,
    slow_except,
    training_pair,
    training_step,
)
from torch import nn
from torch.profiler import ProfilerActivity, profile

from res2net_mm import accelerate_training
from res2net_mm.acceleration.training.executor import MOST_STEPS
from res2net_mm.benchmark.timing import peak_memory
from res2net_mm.models.layers.bottle2neck import Bottle2neck, make_shortcut

pytestmark = needs_compiler

SMALLEST = dict(in_channels=4, out_channels=4, width=2)
HIERARCHICAL = dict(stage_pool='strided_hierarchical')
BLOCKS = {
    'middle': dict(),
    'one split': dict(scales=1),
    'one channel': dict(scales=1, width=1),
    'two splits': dict(scales=2, width=3),
    'groups': dict(scales=3, groups=2),
    'dilation': dict(scales=3, dilation=2),
    'no last ReLU': dict(scales=2, last_relu=False),
    'given identity': dict(scales=2),
    'given identity, no last ReLU': dict(scales=2, last_relu=False),
    'given identity, strided': dict(scales=2, stride=2, stage_block=True),
    'stage block that keeps the shape': dict(scales=3, stage_block=True),
    'stage block': dict(scales=3, in_channels=3, stage_block=True),
    'strided': dict(scales=3, in_channels=3, stride=2, stage_block=True),
    'strided, one split': dict(scales=1, in_channels=3, stride=2, stage_block=True),
    'caffe': dict(scales=2, in_channels=3, stride=2, stage_block=True, style='caffe'),
    'caffe, pools where strided': dict(in_channels=3, stride=2, stage_block=True, style='caffe', stage_pool='strided'),
    'average before the projection': dict(scales=2, in_channels=3, stride=2, stage_block=True),
    'hierarchical without a stride': dict(scales=3, in_channels=3, stage_block=True, **HIERARCHICAL),
    'padding not counted': dict(scales=3, in_channels=3, stride=2, stage_block=True, **HIERARCHICAL),
    'average alone': dict(scales=2, stride=2, stage_block=True),
    'overlapping average before the projection': dict(scales=2, in_channels=3, stride=2, stage_block=True),
}


def make_block(name):
    config = dict(SMALLEST, **BLOCKS[name])
    channels, out, stride = config['in_channels'], config['out_channels'], config.get('stride', 1)
    if 'overlapping' in name:
        downsample = nn.Sequential(nn.AvgPool2d(3, stride, padding=1), nn.Conv2d(channels, out, 1, bias=False),
                                   nn.BatchNorm2d(out))
    elif name == 'average alone':
        downsample = nn.Sequential(nn.AvgPool2d(3, stride, padding=1))
    else:
        downsample = None if 'given' in name else make_shortcut(channels, out, stride, 'average' in name)
    return accelerate_training(randomise(Bottle2neck(**config, downsample=downsample)).double())


@pytest.mark.parametrize('norms', ['batch', 'frozen'])
@pytest.mark.parametrize('name', slow_except(BLOCKS, 'one channel', 'two splits', 'given identity', 'strided',
                                             'hierarchical without a stride', 'padding not counted'))
def test_gradients_of_a_block(name, norms, fused):
    block = make_block(name)
    if norms == 'frozen':
        for module in block.modules():
            module.training = not isinstance(module, nn.BatchNorm2d)
    x = torch.randn(2, block.conv1.in_channels, 3, 4, dtype=torch.float64, requires_grad=True)
    identity = None
    if 'given' in name:
        height, width = (2, 2) if 'strided' in name else (3, 4)
        identity = torch.randn(2, 4, height, width, dtype=torch.float64, requires_grad=True)
    parameters = list(block.parameters())
    assert torch.autograd.gradcheck(lambda x, identity, *parameters: block(x, identity), (x, identity, *parameters))
    assert fused and all(fused_block is block for fused_block in fused)


def chain(length):
    plain = randomise(nn.Sequential(*(Bottle2neck(8, 8, 2) for _ in range(length)))).double()
    return plain, accelerate_training(copy.deepcopy(plain))


@pytest.mark.parametrize('channels_last', [False, True])
def test_a_chain_longer_than_is_made_again(channels_last):
    """What is kept is now and then a block's input, or the backward pass would make ever longer chains."""
    plain, fast = chain(2 * MOST_STEPS + 4)
    lengths = []
    for block in fast:
        block.register_forward_hook(lambda block, x, out: lengths.append(len(block.executor._latest.origin.steps)))
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    before = x.clone()
    assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)
    assert torch.equal(x, before)
    turn = list(range(1, MOST_STEPS + 2))
    assert lengths == (turn * 3)[:len(lengths)] and len(lengths) > len(turn)


@pytest.mark.parametrize('use', ['twice', 'hook', 'as it is'])
def test_what_happens_between_two_blocks(use):
    """An output may be used several times, hooks see its gradient, and nothing need keep it but the next block."""
    plain, fast = chain(3)
    weight = torch.randn(2, 8, 5, 4, dtype=torch.float64)

    def run(model, x):
        first, second, third = model
        out = first(x)
        if use == 'twice':
            return third(second(out)) + second(out) * out
        if use == 'hook':
            out.register_hook(lambda grad: 2 * grad)
        out = second(out)
        gc.collect()
        return third(out)

    grads = []
    for model in (plain, fast):
        x = torch.randn(2, 8, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
        (run(model, x) * weight).sum().backward()
        grads.append(x.grad)
    assert_near(grads[1], grads[0], 1e-9)
    assert_same_state(fast, plain, 1e-9)


def test_an_output_changed_in_place_is_not_made_again_from_what_it_was():
    plain, fast = chain(2)
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    plain[1](plain[0](x) * 2).square().sum().backward()
    fast[1](fast[0](x).mul_(2)).square().sum().backward()
    assert_same_state(fast, plain, 1e-9)


def test_norms_without_running_statistics():
    plain, _ = chain(2)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = module.running_var = module.num_batches_tracked = None
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    for training_mode in (True, False):
        plain.train(training_mode).zero_grad()
        fast = accelerate_training(copy.deepcopy(plain))
        assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)


def kept_bytes(model, x):
    """The memory that a forward pass leaves taken; no hooks on saved tensors, for which nothing is made again."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        outs = model(x)
    del outs
    return sum(event.self_cpu_memory_usage for event in events.events())


@pytest.mark.slow
def test_less_memory():
    plain, fast = training_pair(dict(SMALL, depth=50), torch.float32)
    checkpointed = accelerate_training(build(dict(SMALL, depth=50, with_cp=True)))
    x = torch.randn(2, 3, 160, 160)
    kept = {}
    for model in (plain, fast, checkpointed):
        training_step(model, x)
        kept[model] = kept_bytes(model, x)
    assert kept[fast] < 0.6 * kept[plain]
    assert kept[checkpointed] < kept[fast]

    peaks = []
    for model in (plain, fast):
        training_step(model, x)
        peaks.append(peak_memory(lambda: training_step(model, x), torch.device('cpu')))  # noqa: B023
    assert peaks[1] < 0.8 * peaks[0]
