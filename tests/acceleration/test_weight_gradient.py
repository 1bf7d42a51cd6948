"""The gradient of a convolution's weight beside PyTorch's."""
import itertools

import pytest
import torch
from helpers import assert_near, needs_compiler

from res2net_mm.acceleration.training.kernels import kernels

pytestmark = needs_compiler

GEOMETRIES = {  # kernel size, stride, padding, dilation
    '3x3': ((3, 3), (1, 1), (1, 1), (1, 1)),
    'strided': ((3, 3), (2, 2), (1, 1), (1, 1)),
    '7x7': ((7, 7), (2, 2), (3, 3), (1, 1)),
    'dilated': ((3, 3), (1, 1), (2, 2), (2, 2)),
    'dilated, with little padding': ((2, 3), (1, 2), (0, 1), (2, 3)),
    'no two numbers alike': ((3, 2), (2, 1), (0, 3), (1, 2)),
    'strided 1x1': ((1, 1), (2, 3), (0, 0), (1, 1)),
    'stride over the kernel': ((2, 1), (3, 4), (1, 1), (1, 1)),
}
# Channels that fill vectors and groups of channels, and that do not; in the stem and in the blocks.
CHANNELS = [(3, 32), (26, 26), (16, 6), (1, 1), (5, 13), (33, 7)]


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def both_gradients(x, channels, geometry):
    kernel_size, stride, padding, dilation = geometry
    weight = torch.randn(channels, x.shape[1], *kernel_size, dtype=x.dtype)
    grad = random(*torch.conv2d(x, weight, None, stride, padding, dilation).shape)
    _, wanted, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, (0, 0), 1, (False, True, False))
    return kernels().weight_gradient(x, grad, *geometry), wanted


@pytest.mark.parametrize('geometry', GEOMETRIES.values(), ids=GEOMETRIES)
def test_equal(geometry):
    for (inputs, outputs), (n, h, w) in itertools.product(CHANNELS, [(3, 7, 7), (1, 5, 130), (2, 19, 12)]):
        ours, wanted = both_gradients(random(n, inputs, h, w), outputs, geometry)
        assert ours.is_contiguous()
        assert_near(ours, wanted, 1e-12, f'{inputs} to {outputs} channels, {n} images of {h} x {w}')


def test_single_precision():
    """The sum of 100,000 products is nearer to that in double precision than 1e-5."""
    x = random(8, 13, 112, 112, dtype=torch.float32)
    grad = random(8, 9, 112, 112, dtype=torch.float32)
    ours, wanted = (kernels().weight_gradient(x.to(dtype), grad.to(dtype), *GEOMETRIES['3x3'])
                    for dtype in (torch.float32, torch.float64))
    assert_near(ours, wanted, 1e-5)


@pytest.mark.parametrize('threads', [1, 2, 3, 7])
def test_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for n, h in ((1, 1), (5, 3), (2, 40)):
            ours, wanted = both_gradients(random(n, 4, h, 40), 5, GEOMETRIES['3x3'])
            assert_near(ours, wanted, 1e-12)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('shape', [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_nothing(shape):
    x, grad = (torch.zeros(size).contiguous(memory_format=torch.channels_last) for size in (shape, (shape[0], 5, 8, 8)))
    grad = kernels().weight_gradient(x, grad, *GEOMETRIES['3x3'])
    assert torch.equal(grad, torch.zeros(5, shape[1], 3, 3))


def test_what_is_not_a_number_stays_so():
    x = random(2, 3, 9, 9)
    x[1, 2, 4, 4] = float('nan')
    ours, wanted = both_gradients(x, 4, GEOMETRIES['3x3'])
    assert torch.equal(ours.isnan(), wanted.isnan()) and ours.isnan().any() and not ours.isnan().all()


X, GRAD = random(2, 3, 8, 8), random(2, 5, 8, 8)


@pytest.mark.parametrize(('x', 'grad', 'change', 'message'), [
    (X.contiguous(), GRAD, {}, 'input is no feature map in channels last'),
    (X, GRAD.contiguous(), {}, 'grad is no feature map'),
    (X.float(), GRAD, {}, 'input is no feature map .* of the type'),
    (X[:1], GRAD, {}, 'input is no feature map .* as many images'),
    (X, GRAD[:, :, :7], {}, 'grad is no feature map|not of the size'),
    (X, random(2, 5, 7, 8), {}, 'not of the size that the convolution makes'),
    (X, GRAD, dict(kernel_size=(9, 3), padding=(0, 1)), 'not of the size'),
    (X, GRAD, dict(stride=(0, 1)), 'no such convolution'),
    (X, GRAD, dict(padding=(-1, 1)), 'no such convolution'),
])
def test_what_does_not_fit_is_refused(x, grad, change, message):
    geometry = dict(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1))
    with pytest.raises(RuntimeError, match=message):
        kernels().weight_gradient(x, grad, **{**geometry, **change})
