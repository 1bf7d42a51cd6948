"""What the tracer looks into, and what it leaves whole."""
import logging

import pytest
import torch
from helpers import VARIANTS, assert_same_function, random_model, relative_error
from torch import nn
from torch.nn.utils import parametrizations, prune

from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.graph import is_ours, trace
from res2net_mm.models.layers.bottle2neck import Bottle2neck


class Named(Bottle2neck):
    """A block of another package that changes nothing."""

    note = 'mine'


class Changed(Bottle2neck):
    """A block of another package that computes something else."""

    def forward(self, x, identity=None):
        return super().forward(x, identity) * 2


class ChangedInside(Bottle2neck):
    """A block of another package, one of whose methods is another."""

    def _run_plugins(self, position, x):
        return x + 1


def blocks_of_class(cls, model):
    for module in model.modules():
        if type(module) is Bottle2neck:
            module.__class__ = cls
    return model


@pytest.mark.parametrize('cls, left', [(Named, 'none'), (Changed, '8 Changed'), (ChangedInside, '8 ChangedInside')])
def test_subclasses_in_other_packages(cls, left):
    plain = blocks_of_class(cls, random_model(VARIANTS['v1']))
    assert is_ours(plain.layer1[0]) == (left == 'none')
    fast = accelerate(plain, 'pytorch')
    assert fast.report.endswith(f'other layers with convolutions or batch norms: {left}')
    assert_same_function(fast, plain, torch.randn(1, 3, 64, 64))


def test_what_was_done_is_logged(caplog):
    from mmengine.logging import MMLogger
    logger = MMLogger.get_instance('test_what_was_done_is_logged')
    logger.addHandler(caplog.handler)
    MMLogger._instance_dict.move_to_end(logger.instance_name)
    with caplog.at_level(logging.INFO):
        fast = accelerate(random_model(VARIANTS['v1']), 'pytorch')
    assert caplog.messages == [f'accelerate: Res2Net with pytorch: {fast.report}'] and fast.report == (
        '45 convolutions take in 45 batch norms, 8 additions, 41 ReLUs; other layers with convolutions or batch norms: '
        'none')


def mean(out):
    return float((out if isinstance(out, torch.Tensor) else out[-1]).mean())


def register(kind, module, seen):
    hooks = {
        'forward': lambda: module.register_forward_hook(lambda module, x, out: seen.append(mean(out))),
        'changes the output': lambda: module.register_forward_hook(lambda module, x, out: out * 2),
        'pre': lambda: module.register_forward_pre_hook(lambda module, x: seen.append(mean(x[0]))),
        'keywords': lambda: module.register_forward_hook(
            lambda module, x, more, out: seen.append(mean(out)), with_kwargs=True),
    }
    hooks[kind]()


@pytest.mark.parametrize('kind', ['forward', 'changes the output', 'pre', 'keywords'])
@pytest.mark.parametrize('name, left', [
    ('', 'none'), ('layer3.0', '1 Bottle2neck with hooks'), ('layer3.0.conv1', '1 Conv2d with hooks, 1 BatchNorm2d'),
    ('layer3.0.bn1', '1 BatchNorm2d with hooks'), ('layer3.0.relu', 'none'), ('layer2', '1 Sequential with hooks'),
    ('layer3.0.se', 'none')])
def test_hooks_are_called(name, left, kind):
    """Layers with hooks stay as they are; those of the whole backbone are called around it."""
    plain, seen = random_model(VARIANTS['v1']), []
    register(kind, plain.get_submodule(name), seen)
    fast = accelerate(plain, 'pytorch')
    assert fast.report.endswith(f': {left}')
    x = torch.randn(1, 3, 64, 64)
    del seen[:]
    with torch.no_grad():
        wanted = [plain(x), list(seen)]
        del seen[:]
        outs = [fast(x), list(seen)]
    assert bool(seen) == (kind != 'changes the output') and outs[1] == pytest.approx(wanted[1], rel=1e-4)
    if name or kind != 'changes the output':  # a tuple, doubled, is twice as long
        assert all(relative_error(out, want) < 1e-5 for out, want in zip(outs[0], wanted[0], strict=True))
    assert len(outs[0]) == len(wanted[0])


def test_gradients_reach_hooks():
    plain, seen = random_model(VARIANTS['v1']), []
    plain.layer2[0].register_full_backward_hook(lambda module, grad_in, grad_out: seen.append(grad_out[0].norm()))
    for model in (accelerate(plain, 'pytorch'), plain):
        model(torch.ones(1, 3, 64, 64, requires_grad=True))[-1].square().sum().backward()
    assert len(seen) == 2 and float(seen[0]) == pytest.approx(float(seen[1]), rel=1e-3)


def test_pruned_and_parametrized_layers_stay_so():
    plain = random_model(VARIANTS['v1'])
    with torch.no_grad():  # PyTorch copies no weight that is a function of another
        prune.l1_unstructured(plain.layer1[0].conv1, 'weight', amount=0.5)
    parametrizations.spectral_norm(plain.layer2[0].conv3)
    fast = accelerate(plain, 'pytorch')
    assert 'Conv2d with hooks' in fast.report and 'ParametrizedConv2d' in fast.report
    assert_same_function(fast, plain, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize('operation', ['x += 1', 'x -= 1', 'x *= 2', 'x /= 2'])
def test_operators_in_place_are_seen(operation):
    """torch.fx takes ``x += y`` for ``x = x + y``, and forgets that x has other names."""

    class Net(nn.Module):

        def forward(self, x):
            x = x * 1
            y = x
            exec(operation, dict(x=x))
            return y

    plain, x = Net(), torch.randn(3)
    assert torch.equal(trace(plain)(x), plain(x)) and not torch.equal(plain(x), x)


class Choosy(Bottle2neck):
    """What it does depends on the image."""

    def forward(self, x, identity=None):
        return x if x.mean() > 0 else -x


def test_what_is_no_graph():
    plain = random_model(VARIANTS['v1'])
    plain.forward = lambda x: x
    with pytest.raises(ValueError, match='accelerate: Res2Net with pytorch: .* has a forward of its own'):
        accelerate(plain, 'pytorch')
    with pytest.raises(ValueError, match='Choosy is not a graph of layers: .*control flow'):
        trace(Choosy(8, 8, 2))
