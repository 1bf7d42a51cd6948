"""Whole backbones in Triton's interpreter, on the CPU; ``test_triton_interpreter.py`` runs this."""
import copy
import pickle

import pytest
import torch
from helpers import VARIANTS, channels_last, random_model, relative_error

from res2net_mm.acceleration.backends import accelerate

NETS = {
    **{name: VARIANTS[name] for name in (
        'v1', 'v1b', 'ResNet', 'grouped SE', 'strided, hierarchical', 'CIFAR', 'output stride 8', 'stem',
        'no norms that fold', 'plugins')},
    'DLA': dict(type='res2net_mm.DLA', scales=2, base_width=12),
    'Big-Little': dict(type='res2net_mm.BLRes2Net', scales=2, base_width=12, zero_init_residual=False),
}


@pytest.mark.parametrize('name', NETS)
def test_the_same_function(name):
    plain = random_model(NETS[name])
    before = copy.deepcopy(plain.state_dict())
    fast = accelerate(plain, 'triton', check=False)  # it takes longer than all else here
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
    fast, x = accelerate(plain, 'triton', check=False), torch.randn(1, 3, 32, 32)
    out = copy.deepcopy(fast).half()(x)[-1]  # in the type of the weights
    assert out.dtype == torch.float16 and relative_error(out.float(), plain(x)[-1]) < 1e-2


def test_stored_and_read_again():
    plain, x = random_model(VARIANTS['v1']), torch.randn(1, 3, 32, 32)
    fast = accelerate(plain, 'triton')
    with torch.no_grad():
        again = pickle.loads(pickle.dumps(fast))(x)
        assert all(relative_error(out, want) < 1e-5 for out, want in zip(again, plain(x), strict=True))


def test_what_it_refuses():
    plain, x = random_model(VARIANTS['v1']), torch.randn(1, 3, 32, 32, requires_grad=True)
    fast = accelerate(plain, 'triton', check=False)
    with pytest.raises(ValueError, match=r'has no gradients: call it under torch.no_grad\(\), or detach the images'):
        fast(x)
    plain.layer1[0].register_forward_hook(print)
    with pytest.raises(ValueError, match='1 layers have hooks, which would not be called: layer1.0'):
        accelerate(plain, 'triton')
