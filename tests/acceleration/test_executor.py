"""Whatever is done to an accelerated model, it does what the plain one does, or runs layer by layer."""
import copy
import gc
import io
import pickle
from types import SimpleNamespace

import pytest
import torch
from helpers import SMALL, assert_near, assert_same_state, build, needs_compiler, randomise, slow_except
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from res2net_mm import accelerate_training
from res2net_mm.acceleration.eager import is_eager
from res2net_mm.acceleration.training import layers
from res2net_mm.models.layers.bottle2neck import Bottle2neck, make_shortcut

pytestmark = needs_compiler

DOUBLE = dict(dtype=torch.float64)
SIZE = 2, 8, 6, 5


def pair(length=2, **config):
    """A chain of plain blocks, and its accelerated copy."""
    plain = randomise(nn.Sequential(*(Bottle2neck(8, 8, 2, **config) for _ in range(length)))).double()
    return plain, accelerate_training(copy.deepcopy(plain))


def outcome(model, *inputs):
    """The outputs, the gradients and the running statistics of a step of a model, or what it raises."""
    inputs = [x.clone().requires_grad_() if isinstance(x, torch.Tensor) else x for x in inputs]
    model.zero_grad()
    try:
        out = model(*inputs)
        (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1), **DOUBLE)).sum().backward()
    except (RuntimeError, ValueError, TypeError) as error:
        return type(error).__name__, str(error)
    return out, *(x.grad for x in inputs if isinstance(x, torch.Tensor))


def assert_same_outcome(fast, plain, *inputs):
    ours, theirs = outcome(fast, *inputs), outcome(plain, *inputs)
    if isinstance(theirs[0], str):
        assert ours == theirs
        return
    assert not isinstance(ours[0], str), ours
    for value, wanted in zip(ours, theirs, strict=True):
        assert value.dtype == wanted.dtype
        assert_near(value, wanted, 1e-9)
    assert_same_state(fast, plain, 1e-9)


# 1. Inputs.


def random(*shape):
    return torch.randn(*shape, **DOUBLE)


INPUTS = {
    'shortcut of four times the pixels': (dict(stride=2, stage_block=True), (SIZE, )),
    'splits of two sizes': (dict(stride=2), (SIZE, )),
    'identity of a pixel': (dict(), (SIZE, (2, 8, 1, 1))),
    'identity of a channel': (dict(), (SIZE, (2, 1, 6, 5))),
    'identity of an image': (dict(), (SIZE, (1, 8, 6, 5))),
    'identity of a row': (dict(), (SIZE, (5, ))),
    'identity of another size': (dict(), (SIZE, (2, 8, 5, 6))),
    'identity that is larger': (dict(), ((1, 8, 6, 5), SIZE)),
    'other channels': (dict(), ((2, 4, 6, 5), )),
    'no batch': (dict(), ((8, 6, 5), )),
    'no image': (dict(), ((0, 8, 6, 5), )),
    'no pixel': (dict(dilation=2), ((2, 8, 0, 5), )),
    'one pixel': (dict(), ((1, 8, 1, 1), )),
    'the right sizes': (dict(), (SIZE, SIZE)),
}


@pytest.mark.parametrize('name', INPUTS)
def test_sizes(name):
    config, shapes = INPUTS[name]
    (plain, ), (fast, ) = pair(1, **config)
    assert_same_outcome(fast, plain, *(random(*shape) for shape in shapes))


def test_types():
    (plain, ), (fast, ) = pair(1)
    assert_same_outcome(fast, plain, random(*SIZE), random(*SIZE).float())
    assert_same_outcome(fast, plain, random(*SIZE).float())
    for block in (plain, fast):
        block.bn3.float()
    assert_same_outcome(fast, plain, random(*SIZE))


@pytest.mark.parametrize('change', [
    dict(conv='conv1', out=9), dict(conv='conv1', out=6), dict(conv='conv3', out=4)], ids=str)
def test_layers_of_other_channels(change):
    """Split and concatenated they may fit, or be an error of the layer that they do not fit."""
    (plain, ), (fast, ) = pair(1)
    conv = getattr(plain, change['conv'])
    layer = nn.Conv2d(conv.in_channels, change['out'], 1, bias=False).double()
    for block in (plain, fast):
        setattr(block, change['conv'], copy.deepcopy(layer))
    assert_same_outcome(fast, plain, random(*SIZE))


# 2. What is changed before the backward pass.


@pytest.mark.parametrize('name', ['bn1.running_mean', 'bns.0.running_var', 'bn3.weight', 'convs.1.weight'])
def test_a_tensor_changed_before_the_backward_pass(name):
    for block, in pair(1):
        for module in block.modules():
            module.training = not isinstance(module, nn.BatchNorm2d)
        out = block(random(*SIZE))
        with torch.no_grad():
            block.state_dict(keep_vars=True)[name].add_(5)
        with pytest.raises(RuntimeError, match='modified by an inplace operation'):
            out.sum().backward()


def test_a_norm_that_runs_in_both_ways():
    """Under autocast layer by layer, then in one piece, which does not fail the first call's backward pass."""
    (plain, ), (fast, ) = pair(1)
    x = random(*SIZE)
    losses = []
    for block in (plain, fast):
        with torch.autocast('cpu', torch.bfloat16):
            out = block(x)
        losses.append((out.double() + block(x)).square().sum())
        losses[-1].backward()
    assert_near(losses[1], losses[0], 1e-2)


@pytest.mark.parametrize('change', [
    dict(momentum=None, num_batches_tracked=None), dict(momentum=None), dict(num_batches_tracked=None),
    dict(track_running_stats=False), dict(momentum=0.0), dict(momentum=1)], ids=str)
@pytest.mark.parametrize('training', [True, False])
def test_running_statistics(change, training):
    plain, _ = pair()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, value in change.items():
                setattr(module, name, value)
    fast = accelerate_training(copy.deepcopy(plain))
    for _ in range(2):
        assert_same_outcome(fast.train(training), plain.train(training), random(*SIZE))


# 3. Layers with hooks, and other layers.

LAYERS = ['conv1', 'bn1', 'relu', 'convs.0', 'bns.1', 'pool', 'conv3', 'bn3', 'se', 'downsample', 'downsample.1']
REGISTER = ['register_forward_pre_hook', 'register_forward_hook', 'register_full_backward_pre_hook',
            'register_full_backward_hook']


@pytest.mark.parametrize('register', REGISTER)
def test_hooks_of_layers(register, fused):
    """Hooks that double what they see; without them the block runs in one piece again."""
    plain = randomise(Bottle2neck(8, 4, 2, stage_block=True, downsample=make_shortcut(8, 4, 1, False))).double()
    fast = accelerate_training(copy.deepcopy(plain))

    def double(module, *seen):
        value = seen[-1] if register != 'register_full_backward_hook' else seen[0]
        return tuple(2 * x for x in value) if isinstance(value, tuple) else 2 * value

    for name in LAYERS:
        if 'backward' in register and name == 'relu':
            continue  # PyTorch has none for layers that work in place
        handles = [getattr(block.get_submodule(name), register)(double) for block in (plain, fast)]
        assert_same_outcome(fast, plain, random(*SIZE))
        for handle in handles:
            handle.remove()
    assert not fused
    assert_same_outcome(fast, plain, random(*SIZE))
    assert fused == [fast]


def test_hooks_of_all_modules():
    seen, (_, fast) = [], pair(1)
    handle = nn.modules.module.register_module_forward_hook(lambda module, *args: seen.append(module))
    outcome(fast, random(*SIZE))
    handle.remove()
    assert fast[0].bn1 in seen and fast[0].convs[2] in seen


def test_pruning():
    plain, fast = pair()
    for model in (plain, fast):
        prune.l1_unstructured(model[0].conv1, 'weight', amount=0.5)
    optimizers = [torch.optim.SGD(model.parameters(), 0.1) for model in (plain, fast)]
    for _ in range(3):
        assert_same_outcome(fast, plain, random(*SIZE))
        for optimizer in optimizers:
            optimizer.step()


class Scaled(nn.Module):
    """A layer around another, as LoRA's."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.tensor(2.))

    def forward(self, x):
        return self.layer(x) * self.scale


def wrap(block):
    block.conv1 = Scaled(block.conv1)


def use_group_norm(block):
    block.bns[1] = nn.GroupNorm(1, 2).double()


def use_sync_bn(block):
    nn.SyncBatchNorm.convert_sync_batchnorm(block)


def use_other_activation(block):
    block.relu = nn.SiLU()


def use_other_pool(block):
    block.pool = nn.MaxPool2d(3, 1, padding=1)


def use_other_divisor(block):
    block.pool.divisor_override = 2


def use_bias(block):
    block.conv3.bias = nn.Parameter(torch.ones(8, **DOUBLE))


def normalise_spectrum(block):
    torch.manual_seed(3)
    parametrizations.spectral_norm(block.conv3)


class Twice(nn.Module):

    def forward(self, x):
        return 2 * x


def parametrize_norm(block):
    parametrize.register_parametrization(block.bn1, 'weight', Twice())


def give_a_forward(block):
    block.bn3.forward = torch.sin


def leave_splits(block):
    block.convs, block.bns, block.scales = block.convs[:1], block.bns[:1], 2


@pytest.mark.parametrize('change', [
    wrap, use_group_norm, use_sync_bn, use_other_activation, use_other_pool, use_other_divisor, use_bias,
    normalise_spectrum, parametrize_norm, give_a_forward, leave_splits], ids=lambda change: change.__name__)
def test_layers_that_are_changed_later(change):
    plain, fast = pair(stage_block=True)
    for model in (plain, fast):
        change(model[1])
    assert_same_outcome(fast, plain, random(*SIZE))


class Doubled(Bottle2neck):

    def forward(self, x, identity=None):
        return 2 * super().forward(x, identity)


class Negative(Bottle2neck):

    def _forward(self, x, identity):
        return -super().run_layers(x, identity)

    run_layers = _forward


class Shifted(Bottle2neck):

    def _run_plugins(self, position, x):
        return x + 1


class Named(Bottle2neck):
    pass


@pytest.mark.parametrize('cls', [Doubled, Negative, Shifted, Named])
def test_subclasses(cls, fused):
    plain = randomise(nn.Sequential(Bottle2neck(8, 8, 2), cls(8, 8, 2))).double()
    fast = accelerate_training(copy.deepcopy(plain))
    assert_same_outcome(fast, plain, random(*SIZE))
    assert fused == list(fast)[:2 if cls is Named else 1]


# 4. What traces or transforms.


def trace(model, x):
    return torch.jit.trace(model, x)(x)


def export(model, x):
    return torch.export.export(model, (x, )).module()(x)


def symbolic_trace(model, x):
    return torch.fx.symbolic_trace(model)(x)


def compile_whole(model, x):
    torch._dynamo.reset()
    return torch.compile(model, backend='aot_eager', fullgraph=True)(x)


def differentiate(model, x):
    parameters = dict(model.named_parameters())
    grads = torch.func.grad(lambda values: torch.func.functional_call(model, values, (x, )).square().sum())(parameters)
    return torch.cat([grad.flatten() for grad in grads.values()])


def differentiate_forwards(model, x):
    with torch.autograd.forward_ad.dual_level():
        return torch.autograd.forward_ad.unpack_dual(model(torch.autograd.forward_ad.make_dual(x, x.cos()))).tangent


def batch(model, x):
    return torch.func.vmap(model)(x[None])[0]


def count(model, x):
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return torch.tensor(float(counter.get_total_flops()))


@pytest.mark.parametrize('use', [
    trace, export, symbolic_trace, pytest.param(compile_whole, marks=pytest.mark.slow), differentiate,
    differentiate_forwards, batch, count], ids=lambda use: use.__name__)
def test_traced_or_transformed(use):
    plain, fast = (model.eval() for model in pair())
    x = random(*SIZE)
    ours, theirs = use(fast, x), use(plain, x)
    assert_near(ours, theirs, 1e-9)
    assert ours.requires_grad == theirs.requires_grad


@pytest.mark.slow
def test_a_compiled_backbone():
    """Forwards and backwards, as a config with ``compile`` has it."""
    torch._dynamo.reset()
    plain = randomise(build(SMALL, base_channels=8)).train()
    fast = accelerate_training(copy.deepcopy(plain))
    x = torch.randn(2, 3, 64, 64)
    for model in (plain, torch.compile(fast, backend='aot_eager')):
        sum(out.square().mean() for out in model(x)).backward()
    assert_same_state(fast, plain, 1e-4)
    torch._dynamo.reset()


@pytest.mark.parametrize('reentrant', [True, False])
def test_checkpoints_around_blocks(reentrant):
    class Checkpointed(nn.Sequential):

        def forward(self, x):
            return self[3](checkpoint(lambda x: self[2](self[1](x)), self[0](x), use_reentrant=reentrant))

    plain, _ = pair(4)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False  # the checkpoint counts a batch twice
    plain = Checkpointed(*plain)
    assert_same_outcome(accelerate_training(copy.deepcopy(plain)), plain, random(*SIZE))


def test_another_default_device(fused):
    plain, fast = pair()
    x = random(*SIZE)
    losses = []
    for model in (plain, fast):
        with torch.device('meta'):
            losses.append(model(x).square().mean())
            losses[-1].backward()
    assert_near(losses[1], losses[0], 1e-9)
    assert_same_state(fast, plain, 1e-9)
    assert fused == list(fast)


def test_saved_on_the_cpu():
    plain, fast = pair()
    with torch.autograd.graph.save_on_cpu():
        assert_same_outcome(fast, plain, random(*SIZE))


def test_double_backward():
    _, fast = pair()
    x = random(*SIZE).requires_grad_()
    grad, = torch.autograd.grad(fast(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


# 5. What is computed and what is kept.


class CountConvolutions(TorchDispatchMode):
    """Counts backward passes of convolutions, and products of matrices."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten.convolution_backward.default, torch.ops.aten.mm.default,
                                   torch.ops.aten.addmm_.default)
        return function(*args, **(kwargs or {}))


BLOCKS = {
    'middle': dict(),
    'stage block': dict(stage_block=True, stride=2),
    'no last ReLU': dict(last_relu=False),
    'one split': dict(scales=1),
}


@pytest.mark.parametrize('name', slow_except(BLOCKS, 'middle', 'stage block'))
@pytest.mark.parametrize('identity', [False, True])
def test_gradients_of_one_tensor_alone(name, identity):
    config = BLOCKS[name]
    stride = config.get('stride', 1)
    shortcut = make_shortcut(8, 8, stride, True) if stride > 1 and not identity else None
    plain = randomise(Bottle2neck(8, 8, 2, downsample=shortcut, **config)).double()
    fast = accelerate_training(copy.deepcopy(plain))
    inputs = [random(*SIZE)] + [random(2, 8, 6 // stride, -(-5 // stride))] * identity
    for wanted in (*dict(plain.named_parameters()), *range(len(inputs))):
        grads = []
        for block in (plain, fast):
            block.requires_grad_(False)
            values = [x.clone() for x in inputs]
            tensor = values[wanted] if isinstance(wanted, int) else block.get_parameter(wanted)
            tensor.requires_grad_()
            out = block(*values)
            grads += torch.autograd.grad(out.square().sum(), tensor)
        assert_near(grads[1], grads[0], 1e-9, wanted)


@pytest.mark.parametrize('wanted, expected', [
    ('2.bn3.weight', 0), ('2.conv3.weight', 1), ('2.bns.2.weight', 1), ('2.convs.2.weight', 2), ('2.bn1.bias', 4),
    ('1.bn3.weight', 5)])
def test_nothing_is_computed_that_is_not_needed(wanted, expected, monkeypatch):
    """Of a bn1 of the last block: conv3's input, and those of three 3×3 convolutions."""
    by_kernel, kernel = [], layers.kernels().weight_gradient
    counted = SimpleNamespace(weight_gradient=lambda *args: (by_kernel.append(args), kernel(*args))[1])
    monkeypatch.setattr(layers, 'kernels', lambda: counted)
    _, fast = pair(3)
    fast.requires_grad_(False).get_parameter(wanted).requires_grad_()
    loss = fast(random(*SIZE)).sum()
    with CountConvolutions() as counter:
        loss.backward()
    assert counter.count + len(by_kernel) == expected


def live_bytes():
    """The memory of all tensors that Python knows."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, nn.Parameter) and is_eager(thing) and thing.device.type == 'cpu':
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.parametrize('grad', [True, False])
def test_nothing_is_kept_after_the_backward_pass(grad):
    _, fast = pair(4)
    fast.requires_grad_(grad)
    x = random(*SIZE)
    before = live_bytes()
    out = fast(x)
    if grad:
        out.sum().backward()
        fast.zero_grad()
    assert live_bytes() - before == out.untyped_storage().nbytes()
    assert vars(out) == {}


def test_nothing_is_kept_without_a_backward_pass():
    _, fast = pair(4)
    x = random(*SIZE)
    before = live_bytes()
    out = fast(x)
    assert live_bytes() > before
    del out
    assert live_bytes() == before


def test_a_deleted_model_leaves_nothing():
    before = live_bytes()
    _, fast = pair(3)
    out = fast(random(*SIZE))
    del fast, _
    out = out.detach()
    gc.disable()
    assert live_bytes() - before == out.untyped_storage().nbytes()
    gc.enable()


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('by_name', [False, True])
def test_outputs_in_the_layout_of_the_input(layout, by_name):
    fast = accelerate_training(build(SMALL, base_channels=8))
    x = torch.randn(2, 3, 64, 64).contiguous(memory_format=layout)
    for out in fast(x=x) if by_name else fast(x):
        assert out.is_contiguous(memory_format=layout)


# 8. Copies.


def save_and_load(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), save_and_load],
                         ids=['deepcopy', 'pickle', 'torch.save'])
def test_copies(copied, fused):
    plain, fast = pair(3)
    out = fast(random(*SIZE))  # with a step under way
    other = copied(fast)
    del out
    fused.clear()
    plain.load_state_dict(fast.state_dict())
    assert_same_outcome(other, plain, random(*SIZE))
    assert fused == list(other)
    executor, = {block.executor for block in other}
    assert executor is not fast[0].executor and executor._latest is None
