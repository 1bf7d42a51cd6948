"""Which calls compute on plain tensors at once."""
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from res2net_mm.acceleration.eager import has_hooks, is_cpu_autocast_on, is_eager


class Subclass(torch.Tensor):
    pass


class Watch(TorchFunctionMode):

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Ask(nn.Module):
    """Notes whether each of its calls is eager."""

    def __init__(self):
        super().__init__()
        self.answers = []

    def forward(self, x):
        self.answers.append(is_eager(x))
        return x * (1 if is_eager(x) else 2)  # a compiled module tells by its result alone


def test_plain_tensors():
    x = torch.ones(2)
    assert is_eager() and is_eager(x, nn.Parameter(x), x.requires_grad_() * 2)
    with torch.no_grad(), torch.device('cpu'):
        assert is_eager(x)


@pytest.mark.parametrize('x', [torch.ones(2).as_subclass(Subclass), torch.eye(2).to_sparse()], ids=['class', 'layout'])
def test_other_tensors(x):
    assert not is_eager(torch.ones(2), x)


def test_symbolic_trace():
    ask = Ask()
    torch.fx.symbolic_trace(ask)
    assert ask.answers == [False]


def run_jit(ask, x):
    torch.jit.trace(ask, x, check_trace=False)


def run_vmap(ask, x):
    torch.func.vmap(ask)(x)


def run_grad(ask, x):
    torch.func.grad(lambda x: ask(x).sum())(x)


def run_forward_ad(ask, x):
    with forward_ad.dual_level():
        ask(forward_ad.make_dual(x, x))


def under(mode):

    def run(ask, x):
        with mode():
            ask(x)

    return run


@pytest.mark.parametrize('run', [run_jit, run_vmap, run_grad, run_forward_ad, under(Watch),
                                 under(lambda: FakeTensorMode(allow_non_fake_inputs=True)),
                                 under(lambda: FlopCounterMode(display=False))])
def test_traced_or_transformed(run):
    ask, x = Ask(), torch.ones(2)
    run(ask, x)
    assert ask.answers and not any(ask.answers)
    assert is_eager(x)


def test_compiled():
    torch._dynamo.reset()
    x = torch.ones(2)
    assert torch.equal(torch.compile(Ask(), backend='eager', fullgraph=True)(x), 2 * x)
    assert torch.equal(Ask()(x), x)
    torch._dynamo.reset()


def test_exported():
    x = torch.ones(2)
    assert torch.equal(torch.export.export(Ask(), (x, )).module()(x), 2 * x)


def test_autocast():
    assert not is_cpu_autocast_on()
    with torch.autocast('cpu', torch.bfloat16):
        assert is_cpu_autocast_on()


@pytest.mark.parametrize('register', [
    nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook, nn.Module.register_full_backward_hook,
    nn.Module.register_full_backward_pre_hook,
    lambda module, hook: register_module_forward_hook(hook),
    lambda module, hook: register_module_full_backward_hook(hook)])
def test_hooks(register):
    module = nn.ReLU()
    assert not has_hooks(module)
    handle = register(module, lambda *args: None)
    assert has_hooks(module)
    handle.remove()
    assert not has_hooks(module)
