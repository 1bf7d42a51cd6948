"""Whole backbones in Triton's interpreter, on the CPU; ``test_triton_interpreter.py`` runs this."""
import copy

import pytest
import torch
from helpers import VARIANTS, channels_last, random_model, relative_error

from res2net_mm.acceleration.backends import accelerate

NETS = {
    **{name: VARIANTS[name] for name in (
        'v1', 'v1b', 'ResNet', 'grouped SE', 'CIFAR', 'output stride 8', 'stem', 'no norms that fold', 'plugins')},
    'DLA': dict(type='res2net_mm.DLA', scales=2, base_width=12),
    'Big-Little': dict(type='res2net_mm.BLRes2Net', scales=2, base_width=12, zero_init_residual=False),
}


@pytest.mark.parametrize('name', NETS)
def test_the_same_function(name):
    plain = random_model(NETS[name])
    before = copy.deepcopy(plain.state_dict())
    fast = accelerate(plain, 'triton')
    images = [torch.randn(1, 3, 32, 32)]
    if name == 'v1':
        images.append(channels_last(3, 3, 33, 47))
    for x in images:
        kept = x.clone()
        with torch.no_grad():
            expected, outs = plain(x), fast(x)
        assert torch.equal(x, kept) and len(outs) == len(expected)
        for out, wanted in zip(outs, expected):
            assert relative_error(out, wanted) < 1e-5
            layout = torch.contiguous_format if x.is_contiguous() else torch.channels_last
            assert out.is_contiguous(memory_format=layout)
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())
    assert fast.out_channels == plain.out_channels and not fast.training


def test_a_copy_in_float16():
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain, 'triton'), torch.randn(1, 3, 32, 32)
    out = copy.deepcopy(fast).half()(x)[-1]  # in the type of the weights
    assert out.dtype == torch.float16 and relative_error(out.float(), plain(x)[-1]) < 1e-2
