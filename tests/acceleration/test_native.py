"""The engine computes what the plain module does, for every variant and size, and leaves to PyTorch what it cannot."""
import multiprocessing
import os
import threading
from pathlib import Path

import pytest
import torch
from helpers import VARIANTS, needs_compiler, random_model, relative_error
from random_graphs import RandomBackbone
from torch import nn
from torch.nn import functional

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate
from res2net_mm.acceleration.check import as_list, example_images
from res2net_mm.acceleration.fused_conv import FusedConv
from res2net_mm.acceleration.native.module import NativeLayers
from res2net_mm.models.backbones.base import Backbone

pytestmark = needs_compiler

SIZES = [(1, 64, 96), (3, 33, 47), (9, 32, 33)]
SMALL = dict(depth=26, base_channels=16)


@pytest.fixture(autouse=True)
def threads():
    """More than one, also where tests run with one: what two write at once is wrong only then."""
    number = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(number)


def native(plain):
    return accelerate(plain, 'native')


def calls(fast, x):
    """The outputs, and how often PyTorch ran layers of the engine's."""
    seen = []
    parts = [module.plain for module in fast.modules() if isinstance(module, NativeLayers)]
    assert parts
    handles = [part.register_forward_hook(lambda *args: seen.append(1)) for part in parts]
    try:
        return fast(x), len(seen)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize('name', VARIANTS)
def test_variants(name):
    plain = random_model(VARIANTS[name])
    fast, exact = native(plain), random_model(VARIANTS[name]).double()
    for n, height, width in SIZES:
        channels = example_images(plain).shape[1]
        x = torch.randn(n, channels, *((height, width) if channels == 3 else (height // 6, width // 6)))
        with torch.no_grad():
            outs, by_pytorch = calls(fast, x)
            wanted, own = as_list(exact(x.double())), as_list(plain(x))
        assert not by_pytorch
        for out, want, single in zip(as_list(outs), wanted, own, strict=True):
            assert out.is_contiguous() and out.dtype == torch.float32
            assert relative_error(out, want) < max(1e-5, 2 * relative_error(single, want))


def test_random_graphs():
    x = torch.randn(2, 3, 9, 12)
    for seed in range(300):
        plain = RandomBackbone(seed)
        with torch.no_grad():
            for out, want in zip(accelerate(plain, 'native', check=False)(x.clone()), plain(x.clone()), strict=True):
                assert out.shape == want.shape and relative_error(out, want) < 1e-5, f'seed {seed}'


@pytest.fixture(scope='module')
def models():
    plain = random_model(dict(type='res2net_mm.Res2Net', **SMALL))
    return plain, native(plain)


def assert_same(fast, plain, x, by_pytorch=0):
    outs, count = calls(fast, x)
    for out, want in zip(outs, plain(x), strict=True):
        assert relative_error(out, want) < 1e-5
    assert count == by_pytorch


@torch.no_grad()
def test_layouts_and_views(models):
    fast = models[1]
    x = torch.randn(2, 3, 64, 48)
    expected = fast(x)
    part = torch.randn(2, 5, 70, 60)[:, 1:4, 3:67, 5:53].copy_(x)
    for view in (part, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        for out, want in zip(fast(view), expected, strict=True):
            torch.testing.assert_close(out, want, rtol=0, atol=0)
    single = fast(x[1:])
    for out, want in zip(single, expected, strict=True):
        torch.testing.assert_close(out, want[1:], rtol=1e-4, atol=1e-5)


def test_what_pytorch_runs(models):
    plain, fast = models
    x = torch.randn(1, 3, 64, 64)
    assert_same(fast, plain, x.requires_grad_(), 1)
    with torch.no_grad():
        assert_same(fast, plain, x.detach())
        assert calls(fast, torch.full((1, 3, 64, 64), float('nan')))[1] == 1
        with torch.autocast('cpu', torch.bfloat16):
            assert calls(fast, x)[1] == 1
    fast.double()
    try:
        assert fast(x.double())[0].dtype == torch.float64
    finally:
        fast.float()
    with pytest.raises(RuntimeError):
        fast(torch.randn(1, 4, 64, 64))


@torch.no_grad()
def test_weights_that_are_changed(models):
    plain, fast = models
    x = torch.randn(1, 3, 64, 64)
    before = fast(x)[0]
    weight = next(fast.buffers())
    kept = weight.clone()
    weight.mul_(2)
    assert not torch.allclose(fast(x)[0], before)
    weight.copy_(kept)
    assert torch.equal(fast(x)[0], before)
    weight[0] = float('inf')
    assert calls(fast, x)[1] == 1  # PyTorch's operators keep what is not finite
    weight.copy_(kept)


@torch.no_grad()
def test_weights_that_are_replaced(models):
    """A new tensor may lie where an old one was, and have its version."""
    fast, x = models[1], torch.randn(1, 3, 64, 64)
    conv = next(module for module in fast.modules() if isinstance(module, FusedConv))
    kept = conv.weight.clone()
    try:
        for factor in range(2, 12):
            before = fast(x)[0]
            conv.weight = None
            conv.weight = kept * factor
            assert not torch.allclose(fast(x)[0], before), factor
    finally:
        conv.weight = kept


@torch.no_grad()
def test_threads(models):
    """Several at once on one model, and another number of PyTorch's."""
    fast, x, found = models[1], torch.randn(2, 3, 64, 64), []
    expected = fast(x)

    def run():
        with torch.no_grad():
            found.append(all(torch.equal(a, b) for _ in range(20) for a, b in zip(fast(x), expected)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    for count in (1, 3, 2, 5, 1, 4):
        torch.set_num_threads(count)
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(fast(x), expected))


def run_in_child(fast, x, queue, method):
    torch.set_num_threads(2)
    if method == 'spawn':
        torch.ones(1 << 20).sum()  # now PyTorch has its threads
    before = count_threads()
    with torch.no_grad():
        queue.put((fast(x)[-1].numpy(), count_threads() - before))


def count_threads():
    """How many threads this process has."""
    return len(os.listdir('/proc/self/task')) if Path('/proc/self/task').is_dir() else 0


@pytest.mark.parametrize('method', ['fork', 'spawn'])
@torch.no_grad()
def test_processes(models, method):
    """A child of a fork has none of its parent's threads and starts none; elsewhere the threads are PyTorch's."""
    fast, x = models[1], torch.randn(1, 3, 64, 64)
    number = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = fast(x)[-1]
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        child = context.Process(target=run_in_child, args=(fast, x, queue, method), daemon=True)
        child.start()
        result, new_threads = queue.get(timeout=120)
        child.join()
        assert torch.equal(torch.from_numpy(result), expected) and new_threads == 0
    finally:
        torch.set_num_threads(number)


measures_memory = pytest.mark.skipif(
    not Path('/proc/self/statm').exists() or 'asan' in os.environ.get('LD_PRELOAD', ''),
    reason='the memory of the process is read from /proc, and AddressSanitizer keeps what is freed')


def resident():
    """MiB of memory that this process has."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20


@measures_memory
@torch.no_grad()
def test_memory_of_weights():
    """All in one piece: a huge page for every bias would be 100 MiB for this one of 3."""
    plain, x = random_model(dict(type='res2net_mm.Res2Net', **SMALL)), torch.randn(1, 3, 32, 32)
    fast = accelerate(plain, 'native', check=False)
    before = resident()
    fast(x)
    assert resident() - before < 40


@measures_memory
@torch.no_grad()
def test_memory_of_mixed_sizes(models):
    fast, generator = models[1], torch.Generator().manual_seed(0)
    sizes = torch.randint(33, 130, (400, 2), generator=generator).tolist()
    for height, width in [(130, 130), *sizes[:100]]:
        fast(torch.randn(1, 3, height, width))
    before = resident()
    for height, width in sizes:
        fast(torch.randn(1, 3, height, width))
    assert resident() - before < 20


@torch.no_grad()
def test_the_default():
    """The engine, where it can run the backbone, and PyTorch elsewhere."""
    plain = random_model(dict(type='res2net_mm.Res2Net', **SMALL))
    assert any(isinstance(layers, NativeLayers) for layers in accelerate(plain).modules())
    assert not any(isinstance(layers, NativeLayers) for layers in accelerate(plain.double()).modules())


@torch.no_grad()
def test_layers_of_others_are_between():
    plain = random_model(VARIANTS['plugins'])
    fast = native(plain)
    assert ' in 1 calls' not in fast.report
    assert_same(fast, plain, torch.randn(2, 3, 64, 64))


@torch.no_grad()
def test_hooks_of_layers_are_called():
    plain, seen = random_model(dict(type='res2net_mm.Res2Net', **SMALL)), []
    plain.layer2[0].conv1.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    fast = native(plain)
    seen.clear()
    fast(torch.randn(1, 3, 64, 64))
    assert len(seen) == 1


@torch.no_grad()
def test_no_compiler(monkeypatch, tmp_path):
    """It is said once, and the default goes on without."""
    from res2net_mm.acceleration import backends
    from res2net_mm.acceleration.native import module
    said = []
    monkeypatch.setattr(backends, 'print_log', lambda message, **_: said.append(message))
    backends.say_once.cache_clear()
    monkeypatch.setenv('CXX', '/no/compiler')
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    module.engine.cache_clear()
    try:
        with pytest.raises(RuntimeError, match='Res2Net with native'):
            native(Res2Net(depth=26, base_channels=8).eval())
        plain = random_model(dict(type='res2net_mm.Res2Net', **SMALL))
        for _ in range(2):
            fast = accelerate(plain)
            assert not any(isinstance(layers, NativeLayers) for layers in fast.modules())
        assert len([message for message in said if 'there is no engine' in message]) == 1
        assert relative_error(fast(torch.ones(1, 3, 64, 64))[0], plain(torch.ones(1, 3, 64, 64))[0]) < 1e-5
    finally:
        module.engine.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize('lanes', [4, 16])
def test_vectors_of_other_cpus(monkeypatch, lanes):
    """The same source for vectors of other widths, which the compiler makes of those that there are."""
    from res2net_mm.acceleration.native import module
    plain = random_model(dict(type='res2net_mm.Res2Net', **SMALL))
    monkeypatch.setattr(module, 'FLAGS', [*module.FLAGS, f'-DLANES={lanes}'])
    module.engine.cache_clear()
    try:
        fast = native(plain)
        for size in SIZES:
            with torch.no_grad():
                assert_same(fast, plain, torch.randn(size[0], 3, *size[1:]))
    finally:
        module.engine.cache_clear()


class OneConvolution(Backbone):
    """What a backbone is to ``accelerate``, and nothing but one convolution."""

    stage_channels, stage_strides, stem_modules = (24, ), (1, ), []

    def __init__(self, weight):
        super().__init__((0, ), -1, False, False, None)
        self.layer1 = nn.Conv2d(*weight.shape[1::-1], 3, padding=1)
        self.layer1.weight.data = weight

    def forward(self, x):
        return (self.layer1(x), )


@torch.no_grad()
def test_numbers_of_large_range():
    """An output is as exact as the largest product it is made of; by Winograd's filtering, the largest of its tile."""
    def of_any_size(*shape):
        return torch.randn(shape, dtype=torch.double) * 10**(8 * torch.rand(shape, dtype=torch.double) - 4)

    torch.manual_seed(0)
    x, weight = of_any_size(2, 3, 40, 37).float(), of_any_size(24, 3, 3, 3).float()
    plain = OneConvolution(weight)
    bias = plain.layer1.bias
    want = functional.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    products = functional.conv2d(x.double().abs(), weight.double().abs(), bias.double().abs(), padding=1)
    largest = functional.max_pool2d(x.double().abs(), 11, 1, 5), weight.double().abs().amax((2, 3), keepdim=True)
    of_tile = functional.conv2d(*largest) + 1
    direct, filtered = ((accelerate(plain, backend, check=False)(x)[0] - want).abs()
                        for backend in ('native-direct', 'native'))
    assert (direct < 1e-5 * products).all()
    assert (filtered < 1e-5 * of_tile).all()
    assert not (filtered < 1e-5 * products).all()  # which is why there is a choice


def test_a_module_that_is_no_image_model():
    with pytest.raises(ValueError, match='no backbone'):
        accelerate(nn.Conv2d(3, 4, 1), 'native')
