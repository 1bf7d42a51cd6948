"""Training through ``accelerate_training`` is plain training, up to rounding, in less memory."""
import copy
import gc
import json
from types import SimpleNamespace

import cv2
import pytest
import torch
from helpers import BACKBONES, CLASSIFIER, SMALL, build, randomise, train_in_processes
from torch import nn

from res2net_mm import Res2Net, Res2SharedHead, accelerate_training
from res2net_mm.acceleration.training import block as training
from res2net_mm.acceleration.training.autograd import FusedBlock
from res2net_mm.acceleration.training.block import MOST_STEPS, TrainingBlock, compile_each
from res2net_mm.acceleration.training.norm_kernels import Norm, moments, normalise, normalise_backward
from res2net_mm.benchmark.timing import peak_memory
from res2net_mm.models.layers.bottle2neck import Bottle2neck, make_shortcut

DOUBLE, SINGLE = torch.float64, torch.float32


def assert_near(ours, theirs, tolerance, name=''):
    """The difference of two tensors is small beside the second; there are gradients that are zero but for rounding."""
    assert ours.shape == theirs.shape, name
    error, size = (ours.double() - theirs.double()).norm(), theirs.double().norm()
    assert error <= tolerance * size + 1e-13, f'{name}: {error} of {size}'


# 1. The kernels.


def matrix(pixels, channels, dtype, wide=False):
    """(pixels, channels) at random; a slice of a wider one if ``wide``."""
    return torch.randn(pixels, channels + 5, dtype=dtype)[:, 2:2 + channels] if wide else torch.randn(
        pixels, channels, dtype=dtype)


def norm_at_random(z, statistics):
    """A Norm, and the function of z, weight and bias that it is, with the two, in double precision."""
    weight, bias = torch.rand(z.shape[1], dtype=DOUBLE) + 0.5, torch.randn(z.shape[1], dtype=DOUBLE) / 5
    running = torch.randn_like(weight) / 5, torch.rand_like(weight) + 0.5

    def found(z):
        mean, variance = (z.mean(0), z.var(0, unbiased=False)) if statistics else running
        return mean, (variance + 0.1).rsqrt()

    def function(z, weight, bias):
        mean, invstd = found(z)
        return (z - mean) * invstd * weight + bias

    mean, invstd = found(z.double())
    scale = weight * invstd
    tensors = (tensor.to(z.dtype) for tensor in (scale, bias - mean * scale, mean, invstd))
    return Norm(*tensors, statistics), function, weight.requires_grad_(), bias.requires_grad_()


SIZES = [(pixels, channels) for pixels in (1, 2, 63, 64, 65, 200) for channels in (1, 26)]
PRECISIONS = pytest.mark.parametrize('dtype, tolerance', [(DOUBLE, 1e-12), (SINGLE, 1e-5)])


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
def test_moments(dtype, tolerance, wide, threads):
    for pixels, channels in SIZES:
        z = matrix(pixels, channels, dtype, wide) * 3 + 1
        mean, variance = moments(z)
        assert_near(mean, z.double().mean(0), tolerance)
        assert_near(variance, z.double().var(0, unbiased=False), tolerance)


def test_moments_far_from_zero():
    """The mean of the squares less the square of the mean would have no digit left."""
    z = torch.randn(5000, 7) + 1000
    mean, variance = moments(z)
    assert_near(mean, z.double().mean(0), 1e-7)
    assert_near(variance, z.double().var(0, unbiased=False), 1e-5)


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
@pytest.mark.parametrize('relu_first, adds, relu_last', [
    (False, False, False), (True, False, False), (False, False, True),
    (False, True, False), (True, True, False), (False, True, True)])
def test_normalise(dtype, tolerance, wide, relu_first, adds, relu_last, threads):
    for pixels, channels in SIZES:
        z, addend = matrix(pixels, channels, dtype, wide), matrix(pixels, channels, dtype, wide) if adds else None
        norm, function, weight, bias = norm_at_random(z, True)
        wanted = function(z.double(), weight, bias)
        wanted = wanted.relu() if relu_first else wanted
        wanted = wanted + addend if adds else wanted
        wanted = wanted.relu() if relu_last else wanted
        assert_near(normalise(z, norm, None, addend, relu_first, relu_last), wanted, tolerance)

        around = torch.zeros(pixels, channels + 2, dtype=dtype)
        out = around[:, 1:-1]
        assert normalise(z, norm, out, addend, relu_first, relu_last) is out
        assert_near(out, wanted, tolerance)
        assert not around[:, [0, -1]].any()


@PRECISIONS
@pytest.mark.parametrize('wide', [False, True])
@pytest.mark.parametrize('statistics', [False, True])
@pytest.mark.parametrize('relu, adds, second', [
    (False, False, False), (True, False, False), (False, False, True), (True, False, True), (True, True, False)])
def test_normalise_backward(dtype, tolerance, wide, statistics, relu, adds, second, threads):
    for pixels, channels in SIZES:
        grad, z, addend, grad2 = (matrix(pixels, channels, dtype, wide) for _ in range(4))
        given = [tensor.clone() for tensor in (grad, z, addend, grad2)]
        norm, function, weight, bias = norm_at_random(z, statistics)
        inputs = z.double().requires_grad_(), addend.double().requires_grad_()
        wanted = function(inputs[0], weight, bias) + (inputs[1] if adds else 0)
        wanted = wanted.relu() if relu else wanted
        of_result = grad.double() + grad2 if second else grad.double()
        of_z, of_addend, of_weight, of_bias = torch.autograd.grad(
            wanted, (*inputs, weight, bias), of_result, allow_unused=True)

        around = torch.zeros(pixels, channels + 2, dtype=dtype)
        for out in (None, around[:, 1:-1]):
            found, (bias_found, weight_found), addend_found = normalise_backward(
                grad, z, norm, out, relu, addend if adds else None, grad2 if second else None)
            assert out is None or found is out
            # What is left of two terms that nearly cancel, of a pixel or two, is as exact as they are.
            room = tolerance * of_result.norm()
            assert (found - of_z).norm() <= room + tolerance * of_z.norm()
            assert (bias_found - of_bias).norm() <= room and (weight_found - of_weight).norm() <= 10 * room
            assert addend_found is None if not adds else (addend_found - of_addend).norm() <= room
        assert not around[:, [0, -1]].any()
        assert all(map(torch.equal, given, (grad, z, addend, grad2)))


def test_what_is_not_a_number_stays_so():
    """In PyTorch a ReLU passes it on, so that a run that diverges is seen to."""
    z = torch.tensor([[float('nan')], [1]])
    norm = Norm(*torch.ones(4, 1), True)
    for options in (dict(relu_first=True), dict(relu_last=True)):
        assert normalise(z, norm, **options).isnan().tolist() == [[True], [False]]
    grad = torch.tensor([[2.], [3]])
    plain = torch.zeros(2, 1, requires_grad=True)
    torch.relu(plain + z).backward(grad)
    frozen = Norm(*torch.ones(4, 1), False)
    assert torch.equal(normalise_backward(grad, z, frozen, relu=True)[0], plain.grad)


def test_a_net_with_weights_that_are_not_numbers():
    net = accelerate_training(Res2Net(depth=26, base_channels=8))
    net.layer2[0].conv1.weight.data[0, 0] = float('nan')
    assert [bool(out.isnan().any()) for out in net(torch.randn(2, 3, 64, 64))] == [False, True, True, True]


# 2. Blocks, against numerical derivatives.

SMALLEST = dict(in_channels=4, out_channels=4, width=2)
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
    block = accelerate_training(randomise(Bottle2neck(**config, downsample=downsample)).double())
    assert type(block) is TrainingBlock
    return block


@pytest.fixture
def fused(monkeypatch):
    """The blocks that went through FusedBlock."""
    seen, forward = [], FusedBlock.forward
    monkeypatch.setattr(FusedBlock, 'forward', staticmethod(lambda ctx, *args: (seen.append(args[0]),
                                                                                forward(ctx, *args))[1]))
    return seen


@pytest.mark.parametrize('norms', ['batch', 'frozen'])
@pytest.mark.parametrize('name', BLOCKS)
def test_gradients_of_a_block(name, norms, fused):
    block = make_block(name)
    if norms == 'frozen':
        for module in block.modules():
            module.training = not isinstance(module, nn.BatchNorm2d)
    x = torch.randn(2, block.conv1.in_channels, 3, 4, dtype=DOUBLE, requires_grad=True)
    identity = None
    if 'given' in name:
        height, width = (2, 2) if 'strided' in name else (3, 4)
        identity = torch.randn(2, 4, height, width, dtype=DOUBLE, requires_grad=True)
    parameters = list(block.parameters())
    assert torch.autograd.gradcheck(lambda x, identity, *parameters: block(x, identity), (x, identity, *parameters))
    assert fused and all(each is block for each in fused)


# 3. Whole backbones.

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


def pair(config, dtype=DOUBLE):
    """A plain model, and its accelerated copy."""
    config = {key: value for key, value in config.items() if value is not None}
    plain = randomise(build(config)).to(dtype).train()
    fast = copy.deepcopy(plain)
    assert accelerate_training(fast) is fast
    return plain, fast


def step(model, x, retain=False):
    """The outputs of a step, and the gradients of its input."""
    x = x.clone().requires_grad_()
    outs = model(x)
    generator = torch.Generator().manual_seed(1)
    loss = sum((out * torch.randn(out.shape, generator=generator).to(out.dtype)).mean() for out in outs)
    loss.backward(retain_graph=retain)
    return outs, x.grad, loss


def assert_same_step(fast, plain, x, tolerance):
    outs, of_x, _ = step(fast, x)
    wanted, wanted_of_x, _ = step(plain, x)
    assert len(outs) == len(wanted)
    for out, want in zip(outs, wanted):
        assert_near(out, want, tolerance, 'output')
        assert out.is_contiguous()
    if wanted_of_x is not None:
        assert_near(of_x, wanted_of_x, tolerance, 'input')
    assert_same_state(fast, plain, tolerance)


def assert_same_state(fast, plain, tolerance):
    for (name, ours), (other, theirs) in zip(fast.named_parameters(), plain.named_parameters(), strict=True):
        assert name == other and (ours.grad is None) == (theirs.grad is None), name
        if theirs.grad is not None:
            assert ours.grad.is_contiguous() == theirs.grad.is_contiguous(), name
            assert_near(ours.grad, theirs.grad, tolerance, name)
    for (name, ours), (other, theirs) in zip(fast.named_buffers(), plain.named_buffers(), strict=True):
        assert name == other
        assert_near(ours, theirs, tolerance, name)


@pytest.mark.parametrize('name', VARIANTS)
def test_the_same_step(name, fused):
    if 'deformable' in name:
        pytest.importorskip('mmcv.ops')
    plain, fast = pair(VARIANTS[name])
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert_same_step(fast, plain, torch.randn(2, 3, 75, 46, dtype=DOUBLE), 1e-9)
    blocks = [module for module in fast.modules() if isinstance(module, Bottle2neck)]
    expected = [block for block in blocks if type(block) is TrainingBlock]
    assert len(expected) == len(blocks) or name in ('plugins in two stages', 'deformable stages')
    assert set(fused) == set(expected)

    fast.load_state_dict(plain.state_dict())
    fast.eval(), plain.eval()
    x = torch.randn(1, 3, 64, 64, dtype=DOUBLE)
    with torch.no_grad():
        pairs = list(zip(fast(x), plain(x), strict=True))
    assert all(torch.equal(out, want) for out, want in pairs)


@pytest.mark.parametrize('name', ['v1', 'v1b', 'ResNet-50', 'output stride 8', 'checkpointed', 'frozen norms', 'stem'])
def test_the_same_step_in_single_precision(name):
    plain, fast = pair(dict(VARIANTS[name], base_channels=8), SINGLE)
    assert_same_step(fast, plain, torch.randn(4, 3, 64, 64), 1e-2)  # a rounding may turn a ReLU; float64 is exact


def test_training_goes_on_alike():
    """Several steps of an optimizer, over images of several sizes; a copy of an accelerated model trains too."""
    plain, fast = pair(BASE)
    fast = copy.deepcopy(fast)
    optimizers = [torch.optim.SGD(model.parameters(), 0.1, momentum=0.9) for model in (plain, fast)]
    for size in (64, 75, 33):
        x = torch.randn(2, 3, size, 64, dtype=DOUBLE)
        for optimizer in optimizers:
            optimizer.zero_grad()
        assert_same_step(fast, plain, x, 1e-8)
        for optimizer in optimizers:
            optimizer.step()
    for ours, theirs in zip(fast.parameters(), plain.parameters()):
        assert_near(ours, theirs, 1e-9)


def test_gradients_accumulate():
    plain, fast = pair(BASE)
    for _ in range(3):
        assert_same_step(fast, plain, torch.randn(2, 3, 40, 40, dtype=DOUBLE), 1e-9)


def test_backward_twice():
    _, fast = pair(BASE)
    x = torch.randn(2, 3, 64, 64, dtype=DOUBLE)
    _, _, loss = step(fast, x, retain=True)
    first = [parameter.grad.clone() for parameter in fast.parameters()]
    fast.zero_grad()
    loss.backward()
    assert all(torch.equal(parameter.grad, grad) for parameter, grad in zip(fast.parameters(), first))


def chain(length):
    plain = randomise(nn.Sequential(*(Bottle2neck(8, 8, 2) for _ in range(length)))).double()
    return plain, accelerate_training(copy.deepcopy(plain))


@pytest.mark.parametrize('channels_last', [False, True])
def test_a_chain_longer_than_is_made_again(channels_last):
    """What is kept is now and then a block's input, or the backward pass would make ever longer chains."""
    plain, fast = chain(2 * MOST_STEPS + 4)
    lengths = []
    for block in fast:
        block.register_forward_hook(lambda block, x, out: lengths.append(len(out.origin[0].steps)))
    x = torch.randn(2, 8, 6, 5, dtype=DOUBLE)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    given = x.clone()
    assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)
    assert torch.equal(x, given)
    turn = list(range(1, MOST_STEPS + 2))
    assert lengths == (turn * 3)[:len(lengths)] and len(lengths) > len(turn)


class Contiguous(nn.Module):
    """Ends a chain of blocks as a backbone ends."""

    def forward(self, x):
        return (x.contiguous(), )


@pytest.mark.parametrize('use', ['twice', 'hook', 'as it is'])
def test_what_happens_between_two_blocks(use):
    """An output may be used several times, hooks see its gradient, and nothing need keep it but the next block."""
    plain, fast = chain(3)
    weight = torch.randn(2, 8, 5, 4, dtype=DOUBLE)

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
        x = torch.randn(2, 8, 5, 4, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)).requires_grad_()
        (run(model, x) * weight).sum().backward()
        grads.append(x.grad)
    assert_near(grads[1], grads[0], 1e-9)
    assert_same_state(fast, plain, 1e-9)


def test_an_output_changed_in_place_is_not_made_again_from_what_it_was():
    plain, fast = chain(2)
    x = torch.randn(2, 8, 5, 4, dtype=DOUBLE)
    plain[1](plain[0](x) * 2).square().sum().backward()
    fast[1](fast[0](x).mul_(2)).square().sum().backward()
    assert_same_state(fast, plain, 1e-9)


def test_norms_without_running_statistics():
    plain, _ = chain(2)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = module.running_var = module.num_batches_tracked = None
    x = torch.randn(2, 8, 5, 4, dtype=DOUBLE)
    for training_mode in (True, False):
        plain.train(training_mode).zero_grad()
        fast = accelerate_training(copy.deepcopy(plain))
        assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)


def test_shared_head():
    plain = randomise(Res2SharedHead(arch='res2net50_26w4s')).double().train()
    fast = accelerate_training(copy.deepcopy(plain))
    x = torch.randn(2, 1024, 5, 6, dtype=DOUBLE)
    assert_same_step(nn.Sequential(fast, Contiguous()), nn.Sequential(plain, Contiguous()), x, 1e-9)


def test_a_part_that_is_frozen():
    """Gradients of the input alone, and of some weights alone."""
    plain, fast = pair(BASE)
    for model in (plain, fast):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_('layer2' in name and 'conv' in name)
    assert_same_step(fast, plain, torch.randn(2, 3, 64, 64, dtype=DOUBLE), 1e-9)


def test_half_precision_runs_as_before(fused):
    plain, fast = pair(BASE, SINGLE)
    x = torch.randn(2, 3, 64, 64)
    with torch.autocast('cpu', torch.bfloat16):
        assert all(map(torch.equal, fast(x), plain(x)))
    assert not fused


def test_an_image_of_one_pixel_fails_as_before():
    for model in pair(BASE, SINGLE):
        with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
            model(torch.randn(1, 3, 32, 32))


# 4. Memory.


def saved_bytes(model, x):
    """The memory that the graph of a step keeps, beside the model's."""
    kept, own = {}, {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # alive, or its address would come again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return sum(storage.nbytes() for storage in kept.values())


def test_less_memory():
    plain, fast = pair(dict(SMALL, depth=50), SINGLE)
    checkpointed = accelerate_training(build(dict(SMALL, depth=50, with_cp=True)))
    x = torch.randn(2, 3, 160, 160)
    kept = {model: saved_bytes(model, x) for model in (plain, fast, checkpointed)}
    assert kept[fast] < 0.65 * kept[plain]
    assert kept[checkpointed] < kept[fast]

    peaks = []
    for model in (plain, fast):
        step(model, x)
        peaks.append(peak_memory(lambda: step(model, x), torch.device('cpu')))  # noqa: B023
    assert peaks[1] < 0.8 * peaks[0]


# 5. Where there is nothing to accelerate, or nothing to do it with.


def test_without_a_compiler(monkeypatch):

    def fail():
        raise RuntimeError('Ninja is required')

    monkeypatch.setattr(training, 'kernels', fail)
    plain = randomise(build(BASE)).train()
    model = copy.deepcopy(plain)
    with pytest.warns(UserWarning, match='changes nothing.*cannot be compiled: Ninja is required'):
        assert accelerate_training(model) is model
    assert {type(module) for module in model.modules() if isinstance(module, Bottle2neck)} == {Bottle2neck}
    x = torch.randn(2, 3, 64, 64)
    for out, wanted in zip(step(model, x)[0], step(plain, x)[0]):
        assert torch.equal(out, wanted)


@pytest.mark.parametrize('options', [
    dict(se_reduction=16), dict(norm_cfg=dict(type='GN', num_groups=1)), dict(norm_cfg=dict(type='SyncBN')),
    dict(plugins=[dict(cfg=dict(type='ContextBlock', ratio=0.25), position='after_conv3')])], ids=str)
def test_no_such_block(options):
    model = build(BASE, **options)
    with pytest.raises(ValueError, match='accelerate_training: Res2Net has no block of convolutions and batch norms'):
        accelerate_training(model)
    assert {type(module) for module in model.modules() if isinstance(module, Bottle2neck)} == {Bottle2neck}


def test_no_block_at_all():
    with pytest.raises(ValueError, match='accelerate_training: Linear has no block of convolutions and batch norms'):
        accelerate_training(nn.Linear(2, 2))


def test_twice():
    once = accelerate_training(build(BASE))
    blocks = [type(module) for module in once.modules()]
    assert accelerate_training(once) is once and [type(module) for module in once.modules()] == blocks
    assert len(once._forward_hooks) == 1


# 6. A GPU's way, without one.


def test_compiled_block_by_block():
    torch._dynamo.reset()
    plain = randomise(nn.Sequential(Bottle2neck(8, 8, 2), Bottle2neck(8, 8, 2, last_relu=False), Contiguous())).double()
    fast = copy.deepcopy(plain)
    compile_each(list(fast)[:2], backend='aot_eager')
    assert list(fast.state_dict()) == list(plain.state_dict())
    for size in (6, 7):
        fast.zero_grad(), plain.zero_grad()
        assert_same_step(fast, plain, torch.randn(2, 8, size, 5, dtype=DOUBLE), 1e-9)
    torch._dynamo.reset()


# 7. tools/train.py --accelerate.


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
    assert type(model.layer1[0]) is TrainingBlock


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
    assert losses['fast'] == pytest.approx(losses['plain'], rel=1e-3)
    states = [torch.load(tmp_path / name / 'iter_4.pth', weights_only=False)['state_dict'] for name in losses]
    assert list(states[0]) == list(states[1])
