"""A stem in one piece is the stem layer by layer: outputs, gradients, statistics; and what it keeps, and when it is."""
import copy
import pickle

import pytest
import torch
from helpers import assert_near, assert_same_state, build, needs_compiler, randomise
from torch import nn

from res2net_mm import accelerate_training
from res2net_mm.acceleration.training.accelerate import remove_training_acceleration
from res2net_mm.acceleration.training.stem import FusedStem, run_stem

pytestmark = needs_compiler

STEMS = {'v1': {}, 'v1b': dict(deep_stem=True, avg_down=True)}
BASE = dict(type='res2net_mm.Res2Net', depth=26, base_channels=8, num_stages=1, strides=(1, ), dilations=(1, ),
            out_indices=(0, ), stem_channels=16)


@pytest.fixture
def ran(monkeypatch):
    """How often a stem ran in one piece."""
    calls, apply = [], FusedStem.apply
    monkeypatch.setattr(FusedStem, 'apply', lambda *args: (calls.append(args), apply(*args))[1])
    return calls


def pair(name='v1b', **options):
    """A backbone in double precision, and a copy of it whose stem is accelerated."""
    plain = randomise(build(dict(BASE, **STEMS[name], **options))).double().train()
    return plain, accelerate_training(copy.deepcopy(plain))


def images(*shape, **options):
    return torch.randn(*(shape or (2, 3, 37, 46)), dtype=torch.float64, **options)


def step(backbone, x):
    """What goes into the first stage, and the gradient of the images, if they need one."""
    out = backbone.run_stem(x) if backbone.stem_executor is None else backbone.stem_executor(backbone, x)
    if out.requires_grad:
        (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)).sum().backward()
    return out, x.grad


def assert_same_step(fast, plain, x):
    """Outputs, gradients of images and weights, and running statistics are those of the layers."""
    results = [step(backbone, x.clone().detach().requires_grad_(x.requires_grad)) for backbone in (fast, plain)]
    for ours, wanted in zip(*results):
        assert (ours is None) == (wanted is None)
        if wanted is not None:
            assert_near(ours, wanted, 1e-9)
    assert_same_state(fast, plain, 1e-9)


@pytest.mark.parametrize('needs_images', [False, True])
@pytest.mark.parametrize('options', [{}, dict(norm_eval=True), dict(frozen_stages=0),
                                     dict(norm_cfg=dict(type='BN', momentum=None))], ids=str)
@pytest.mark.parametrize('name', STEMS)
def test_the_same_step(name, options, needs_images, ran):
    plain, fast = pair(name, **options)
    for shape in ((2, 3, 37, 46), (1, 3, 8, 3)):
        assert_same_step(fast, plain, images(*shape, requires_grad=needs_images))
    assert len(ran) == 2


@pytest.mark.parametrize('trained', ['stem.0', 'stem.1.bias', 'stem.4', 'stem.6', 'stem.7.weight'])
def test_some_weights_alone(trained, ran):
    plain, fast = pair()
    for backbone in (plain, fast):
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(name.startswith(trained))
    assert_same_step(fast, plain, images())
    assert len(ran) == 1


@pytest.mark.parametrize('pool', [nn.MaxPool2d(2), nn.MaxPool2d((3, 2), 2, padding=1, ceil_mode=True),
                                  nn.MaxPool2d(3, 2, dilation=2)], ids=str)
def test_other_poolings(pool, ran):
    plain, fast = pair()
    plain.maxpool, fast.maxpool = pool, pool
    assert_same_step(fast, plain, images())
    assert len(ran) == 1


def test_channels_last_and_another_number_of_channels(ran):
    plain, fast = pair(in_channels=6)
    assert_same_step(fast, plain, images(2, 6, 32, 32).contiguous(memory_format=torch.channels_last))
    assert len(ran) == 1


def hook(backbone):
    backbone.stem[4].register_forward_hook(lambda *args: None)


def hook_of_the_container(backbone):
    backbone.stem.register_full_backward_hook(lambda *args: None)


def other_activation(backbone):
    backbone.stem[2] = nn.ReLU6()


def other_norm(backbone):
    backbone.stem[4] = nn.GroupNorm(2, 8).double()


def no_pooling(backbone):
    backbone.maxpool = nn.Identity()


def other_container(backbone):
    backbone.stem = nn.Sequential(nn.Sequential(*backbone.stem[:3]), *backbone.stem[3:])


def forward_of_its_own(backbone):
    backbone.maxpool.forward = lambda x: x


def weight_norm(backbone):
    nn.utils.parametrizations.weight_norm(backbone.stem[0])


@pytest.mark.parametrize('change', [hook, hook_of_the_container, other_activation, other_norm, no_pooling,
                                    other_container, forward_of_its_own, weight_norm])
def test_other_layers_run_one_by_one(change, ran):
    plain, fast = pair()
    for backbone in (plain, fast):
        change(backbone)
    assert_same_step(fast, plain, images())
    assert not ran


def test_a_stem_that_is_asked_for(ran):
    plain, fast = pair(out_indices=('stem', 0))
    x = images()
    for ours, wanted in zip(fast(x), plain(x), strict=True):
        assert_near(ours, wanted, 1e-9)
    assert not ran


def test_without_gradients_and_in_half_precision(ran):
    plain, fast = pair()
    x = images()
    with torch.no_grad():
        assert torch.equal(fast(x)[0], plain(x)[0])
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(fast.float()(x.float())[0], plain.float()(x.float())[0])
    assert not ran


@pytest.mark.parametrize('shape', [(2, 4, 32, 32), (3, 32, 32), (1, 3, 2, 2)], ids=str)
def test_images_that_do_not_fit_fail_as_before(shape):
    errors = []
    for backbone in pair():
        with pytest.raises((RuntimeError, ValueError)) as error:
            backbone(images(*shape))
        errors.append(str(error.value))
    assert errors[0] == errors[1]


def test_a_weight_that_is_changed_before_the_backward_pass():
    _, fast = pair()
    out = run_stem(fast, images())
    with torch.no_grad():
        fast.stem[3].weight.add_(1)
    with pytest.raises(RuntimeError, match='modified by an inplace operation'):
        out.sum().backward()


def test_it_cannot_be_differentiated_twice():
    _, fast = pair()
    x = images(requires_grad=True)
    grad, = torch.autograd.grad(run_stem(fast, x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


def kept_bytes(backbone, x):
    """The memory of what a step saves, but for weights and images."""
    own, saved = {tensor.data_ptr() for tensor in (*backbone.parameters(), x)}, {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(backbone, x)
    return sum(saved.values())


def test_it_keeps_less():
    """Of feature maps, the outputs of the convolutions; of the pooling, where its maxima are; and the loss's factor."""
    plain, fast = (kept_bytes(backbone, images(2, 3, 64, 64)) for backbone in pair())
    pixels = 2 * 32 * 32 * 8  # of a feature map before the pooling, in bytes of a channel
    assert fast < pixels * (8 + 8 + 16) + 2 * pixels // 4 * 16 + 10_000 < 0.7 * plain


def test_copies_and_removal(ran):
    plain, fast = pair()
    for copied in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert copied.stem_executor is run_stem
        assert_same_step(copied, copy.deepcopy(plain), images())
    assert len(ran) == 2
    remove_training_acceleration(fast)
    assert_same_step(fast, plain, images())
    assert len(ran) == 2 and fast.stem_executor is None
