"""Backbones that ONNX Runtime and OpenVINO run."""
import threading

import pytest
import torch
from helpers import VARIANTS, assert_same_function, random_model, relative_error

from res2net_mm.acceleration.backends import accelerate

pytestmark = pytest.mark.slow


@pytest.fixture(params=['onnxruntime', 'openvino'])
def backend(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.mark.parametrize('name', [
    'v1', 'v1b', 'grouped SE', 'strided, hierarchical', 'DLA', 'Big-Little', 'CIFAR', 'shared head'
])
def test_the_same_function(backend, name):
    plain = random_model(VARIANTS[name])
    fast = accelerate(plain, backend)
    channels = 1024 if name == 'shared head' else 3
    for batch, height, width in ((1, 97, 64), (3, 33, 45)):
        assert_same_function(fast, plain, torch.randn(batch, channels, height, width))
    assert fast.out_channels == plain.out_channels


def test_images_that_the_library_cannot_take(backend):
    fast, x = accelerate(random_model(VARIANTS['v1']), backend), torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match='runs float32 on the CPU, not torch.float64 on cpu'):
        fast(x.double())
    with pytest.raises(ValueError, match=r'has no gradients: call it under torch.no_grad\(\), or detach the images'):
        fast(x.clone().requires_grad_())
    with torch.no_grad():
        fast(x.clone().requires_grad_())
    assert not fast(x)[-1].requires_grad
    with pytest.raises(ValueError, match='the images are not finite'):
        fast(torch.full_like(x, float('nan')))


def test_models_that_the_library_cannot_take(backend):
    plain = random_model(VARIANTS['v1'])
    with pytest.raises(ValueError, match='runs float32 on the CPU, not torch.float64 on cpu'):
        accelerate(plain.double(), backend)
    plain.float().layer2[0].conv1.register_forward_hook(print)
    with pytest.raises(ValueError, match='1 layers have hooks, which would not be called: layer2.0.conv1'):
        accelerate(plain, backend)


def test_outputs_are_the_callers(backend):
    """They are not overwritten by the next call, and may be changed."""
    plain = random_model(VARIANTS['v1'])
    fast, xs = accelerate(plain, backend), torch.randn(4, 1, 3, 64, 64)
    with torch.no_grad():
        outs = [fast(x)[-1] for x in xs]
        outs[0].zero_()
        for x, out in zip(xs[1:], outs[1:]):
            assert relative_error(out, plain(x)[-1]) < 1e-5
        assert relative_error(fast(xs[0])[-1], plain(xs[0])[-1]) < 1e-5


def test_several_threads(backend):
    plain = random_model(VARIANTS['v1'])
    fast, errors = accelerate(plain, backend), []
    xs = [torch.randn(1, 3, 64, 64 + 32 * (i % 2)) for i in range(6)]
    with torch.no_grad():
        wanted = [plain(x)[-1] for x in xs]

    def run(x, want):
        errors.extend(relative_error(fast(x)[-1], want) for _ in range(4))

    threads = [threading.Thread(target=run, args=pair) for pair in zip(xs, wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 24 and max(errors) < 1e-5
