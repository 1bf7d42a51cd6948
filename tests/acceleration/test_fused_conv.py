"""FusedConv does what a convolution, an addition and a ReLU do, for whatever comes."""
import copy
import threading

import pytest
import torch
from helpers import relative_error
from torch import nn
from torch.nn.functional import conv2d

from res2net_mm.acceleration.fused_conv import FusedConv


def fused_conv(**options):
    return FusedConv(nn.Conv2d(8, 8, 3, padding=1, **options), relu=True)


def plain(fused, x, addend=None):
    """The same by PyTorch's operators; out of place."""
    padding, stride, dilation, groups = fused.geometry
    out = conv2d(x, fused.weight, fused.bias, stride, padding, dilation, groups)
    return (out if addend is None else out + addend).relu()


CHANGES = {  # of the weights, after the first call
    'load_state_dict': lambda conv: conv.load_state_dict({key: value + 1 for key, value in conv.state_dict().items()}),
    'assigned': lambda conv: conv.load_state_dict(
        {key: value + 1 for key, value in conv.state_dict().items()}, assign=True),
    'in place': lambda conv: conv.weight.mul_(2),
    'a part in place': lambda conv: conv.weight[0].zero_(),
    'replaced': lambda conv: setattr(conv, 'weight', conv.weight * 2),
    'data replaced': lambda conv: setattr(conv.weight, 'data', conv.weight * 2),
    'bias in place': lambda conv: conv.bias.add_(1),
    'types and back': lambda conv: conv.bfloat16().float(),
    'channels last': lambda conv: conv.to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize('name', CHANGES)
def test_new_weights_are_used(name):
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
    with torch.no_grad():
        for _ in range(2):
            assert relative_error(fused(x), plain(fused, x)) < 1e-6
            CHANGES[name](fused)
        assert relative_error(fused(x), plain(fused, x)) < 1e-6


@pytest.mark.parametrize('shape', [(2, 8, 1, 1), (1, 8, 6, 5), (1, ), (8, 1, 1), (2, 1, 6, 5), (3, 2, 8, 6, 5)],
                         ids=str)
@pytest.mark.parametrize('overwrite', [False, True])
def test_addends_that_broadcast(shape, overwrite):
    fused, x, addend = fused_conv(), torch.randn(2, 8, 6, 5), torch.randn(shape)
    with torch.no_grad():
        out, wanted = fused(x, addend.clone(), overwrite), plain(fused, x, addend)
    assert out.shape == wanted.shape and relative_error(out, wanted) < 1e-6


@pytest.mark.parametrize('x, message', [
    (torch.randn(2, 7, 6, 5), 'channels'), (torch.randn(2, 8, 6, 5).double(), 'type'),
    (torch.randn(2, 8, 6, 5).bfloat16(), 'type')], ids=['channels', 'double', 'bfloat16'])
def test_what_a_convolution_refuses(x, message):
    with torch.no_grad(), pytest.raises(RuntimeError, match=message):
        fused_conv()(x)


@pytest.mark.parametrize('dtype', [torch.double, torch.bfloat16])
def test_weights_of_another_type_refuse_too(dtype):
    with torch.no_grad(), pytest.raises(RuntimeError, match='type'):
        fused_conv().to(dtype)(torch.randn(2, 8, 6, 5))


@pytest.mark.parametrize('x', [torch.randn(0, 8, 6, 5), torch.randn(8, 6, 5), torch.randn(2, 8, 12, 5)[:, :, ::2],
                               torch.randn(1, 8, 6, 5).expand(3, -1, -1, -1),
                               torch.randn(2, 6, 5, 8).permute(0, 3, 1, 2)],
                         ids=['no image', 'no batch', 'every other row', 'expanded', 'channels last'])
def test_other_layouts(x):
    fused = fused_conv()
    with torch.no_grad():
        out, wanted = fused(x), plain(fused, x)
    assert out.shape == wanted.shape and torch.allclose(out, wanted, atol=1e-5)


@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('wide_addend', [False, True])
def test_autocast(grad, wide_addend):
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
    addend = torch.randn(2, 8, 6, 5, dtype=torch.float32 if wide_addend else torch.bfloat16)
    with torch.set_grad_enabled(grad), torch.autocast('cpu', torch.bfloat16):
        out, wanted = fused(x, addend), plain(fused, x, addend)
    assert out.dtype == wanted.dtype == addend.dtype and torch.equal(out, wanted)


def test_gradients_of_the_input():
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5, requires_grad=True)
    addend = torch.randn(2, 8, 6, 5, requires_grad=True)
    grads, wanted = (torch.autograd.grad(run(x, addend).square().sum(), (x, addend))
                     for run in (fused, lambda x, addend: plain(fused, x, addend)))
    assert all(relative_error(grad, want) < 1e-6 for grad, want in zip(grads, wanted, strict=True))


def test_transforms():
    """Forward-mode AD, vmap and grad of torch.func, under no_grad too."""
    from torch.autograd import forward_ad
    fused, x, tangent = fused_conv(), torch.randn(2, 8, 6, 5), torch.randn(2, 8, 6, 5)
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)
        out, wanted = (forward_ad.unpack_dual(run(dual)).tangent for run in (fused, lambda x: plain(fused, x)))
    assert relative_error(out, wanted) < 1e-6
    several = torch.randn(3, 2, 8, 6, 5)
    with torch.no_grad():
        assert relative_error(torch.vmap(fused)(several), torch.stack([plain(fused, x) for x in several])) < 1e-6
    grad = torch.func.grad(lambda x: fused(x).square().sum())(x)
    assert relative_error(grad, torch.func.grad(lambda x: plain(fused, x).square().sum())(x)) < 1e-6


def test_modes_see_the_operators():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        fused(x)
    assert counter.get_total_flops() == 2 * 2 * 8 * 8 * 9 * 6 * 5
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert fused(mode.from_tensor(x)).shape == (2, 8, 6, 5)


def test_without_onednn():
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(fused(x), plain(fused, x)) and fused._packed is None


def test_inference_mode_leaves_nothing_behind():
    with torch.inference_mode():
        weights = copy.deepcopy(fused_conv()).state_dict()
        fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
        out = fused(x)
    assert relative_error(out, plain(fused, x)) < 1e-6
    other = fused_conv()
    other.load_state_dict(weights, assign=True)  # tensors without versions
    with torch.no_grad():
        assert relative_error(other(x), plain(other, x)) < 1e-6


def test_inputs_of_mixed_sizes(capfd):
    """oneDNN wants the weights in other orders for other sizes, and is never asked to make one of another.

    Its loop for that took up to 90 % of an image's time.
    """
    conv = nn.Conv2d(256, 512, 1)
    fused = FusedConv(conv, relu=True)
    sizes = [(2, 3), (7, 7), (7, 7), (7, 7), (50, 40), (13, 12), (28, 28), (28, 28), (7, 7)]
    with torch.no_grad(), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        for size in sizes:
            x = torch.randn(1, 256, *size)
            assert relative_error(fused(x), conv(x).relu()) < 1e-5
    said = capfd.readouterr().out.splitlines()
    assert any(',convolution,' in line for line in said)  # it is listened to
    assert not [line for line in said if ',reorder,simple' in line and '512x256x1x1' in line]


def test_one_order_of_weights_is_kept():
    fused, x = fused_conv(), torch.randn(2, 8, 6, 5)
    with torch.no_grad():
        orders = []
        for size in (6, 6, 6, 4, 6):
            fused(x[:, :, :size])
            orders.append(fused._packed.reordered)
    assert [order is not None for order in orders] == [False, True, True, False, False] and orders[1] is orders[2]


def test_several_threads():
    fused, errors = fused_conv(), []
    xs = [torch.randn(2, 8, 20, 15 + i) for i in range(6)]

    def run(x):
        with torch.no_grad():
            errors.extend(relative_error(fused(x), plain(fused, x)) for _ in range(5))

    threads = [threading.Thread(target=run, args=(x, )) for x in xs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 30 and max(errors) < 1e-6
