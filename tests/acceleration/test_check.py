"""The comparison of an accelerated module with the plain one."""
import pytest
import torch
from helpers import VARIANTS, random_model
from torch import nn

from res2net_mm import accelerate
from res2net_mm.acceleration import backends
from res2net_mm.acceleration.check import check_same_function, difference, example_images


@pytest.mark.parametrize('name', ['v1', 'shared head', 'CIFAR'])
def test_images(name):
    images = example_images(random_model(VARIANTS[name]).bfloat16())
    assert images.dtype == torch.bfloat16 and len(images) == 2 and images.shape[2] != images.shape[3]
    assert images.shape[1] == (1024 if name == 'shared head' else 3)


def test_images_leave_the_random_numbers_alone():
    conv = nn.Conv2d(3, 3, 1)
    state = torch.get_rng_state()
    example_images(conv)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match='Linear has no convolution'):
        example_images(nn.Linear(2, 2))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_accepts_rounding_and_nothing_else(dtype):
    plain = random_model(VARIANTS['v1']).to(dtype)
    images = example_images(plain)

    def wrong_by(error):
        return lambda x: [out + error * out.std() for out in plain(x)]

    with torch.no_grad():
        check_same_function(plain, plain, images)
        check_same_function(wrong_by(torch.finfo(dtype).eps), plain, images)
        with pytest.raises(RuntimeError, match='output 0 differs by .* of its size; rounding explains'):
            check_same_function(wrong_by(0.5), plain, images)
        if dtype != torch.bfloat16:
            with pytest.raises(RuntimeError, match='output 0 differs'):
                check_same_function(wrong_by(1e-2), plain, images)


def test_other_shapes_types_and_numbers():
    plain, images = nn.Conv2d(3, 4, 1), torch.randn(2, 3, 8, 9)
    with torch.no_grad():
        for wrong in (lambda x: plain(x)[:, :, :1], lambda x: plain(x).double(), lambda x: [plain(x)] * 2):
            with pytest.raises(RuntimeError, match='the outputs are .*, and must be'):
                check_same_function(wrong, plain, images)
    with pytest.raises(ValueError, match='the outputs are dict, and must be a tensor or several'):
        check_same_function(lambda x: {}, plain, images)


def test_what_is_not_finite():
    nan, one, inf = float('nan'), 1., float('inf')
    assert difference(torch.tensor([nan, one]), torch.tensor([nan, one])) == 0
    assert difference(torch.tensor([nan, one]), torch.tensor([one, one])) == inf
    assert difference(torch.tensor([one, one]), torch.tensor([inf, one])) == inf
    assert difference(torch.tensor([0., 1e-3]), torch.zeros(2)) == pytest.approx(1e-3)


def test_a_wrong_rewrite_is_refused(monkeypatch):
    rewrite = backends.rewrite

    def wrong(module, images):
        fast, report = rewrite(module, images)
        fast.get_submodule('layer4.1.conv3_fused').bias += 1
        return fast, report

    monkeypatch.setattr(backends, 'rewrite', wrong)
    plain = random_model(VARIANTS['v1'])
    with pytest.raises(RuntimeError, match='accelerate: Res2Net with pytorch: output 3 differs by'):
        accelerate(plain, 'pytorch')
    assert accelerate(plain, check=False).report


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in VARIANTS if name != 'deformable'])  # mmcv's has no such type
def test_no_false_alarm(name):
    accelerate(random_model(VARIANTS[name]).bfloat16())
