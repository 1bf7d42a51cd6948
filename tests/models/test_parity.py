"""The same random weights in timm's, mmdet's and mmpretrain's models and in ours: the same features and gradients.

Weights go through our loader as they are: no key is renamed here. DLA has the same tests in test_dla.py.
"""
import pytest
import torch
from helpers import randomise, relative_error

from res2net_mm import Res2Net
from res2net_mm.checkpoints.layouts import recognise, rename

V1B = dict(deep_stem=True, avg_down=True)
PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]  # and the relative error allowed of every stage's output


def stage_outputs(theirs, x):
    """What layer1 .. layer4 of another implementation return."""
    outs = []
    hooks = [getattr(theirs, f'layer{i}').register_forward_hook(lambda m, args, out: outs.append(out))
             for i in range(1, 5)]
    theirs(x)
    for hook in hooks:
        hook.remove()
    return outs


def assert_same_function(ours, theirs, dtype, tolerance):
    x = torch.randn(2, 3, 75, 96, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    ours.to(dtype).eval(), theirs.to(dtype).eval()
    mine, other = ours(x), stage_outputs(theirs, x)
    for i in range(4):
        assert mine[i].shape == other[i].shape
        assert relative_error(mine[i], other[i]) < tolerance, f'layer{i + 1}'

    weights = [torch.randn_like(out) / out.detach().norm() for out in mine]
    for outs in (mine, other):
        sum((w * out).sum() for w, out in zip(weights, outs)).backward()
    expected = rename({name: p.grad for name, p in theirs.named_parameters()}, recognise(theirs.state_dict())[1])
    for name, p in ours.named_parameters():
        assert relative_error(p.grad, expected[name]) < 1e-4, name


@pytest.mark.slow
@pytest.mark.parametrize('dtype, tolerance', PRECISIONS, ids=['float32', 'float64'])
@pytest.mark.parametrize('name', [
    'res2net50_26w_4s', 'res2net50_48w_2s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
    'res2net101_26w_4s', 'res2next50', 'res2net50d', 'res2net101d', 'resnet50', 'resnext50_32x4d'
])
def test_timm(name, dtype, tolerance):
    timm = pytest.importorskip('timm')
    theirs = randomise(timm.create_model(name, num_classes=7))
    ours = Res2Net(name)  # timm's names are ours too
    assert_same_function(ours, theirs, dtype, tolerance)
    x = torch.randn(2, 3, 75, 96, dtype=dtype)
    with torch.no_grad():
        assert relative_error(theirs.forward_head(ours(x)[-1]), theirs(x)) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize('dtype, tolerance', PRECISIONS, ids=['float32', 'float64'])
@pytest.mark.parametrize('arguments', [
    {},
    dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    dict(base_width=14, scales=8),
], ids=['26w4s', 'dilated', '14w8s'])
def test_mmdet(arguments, dtype, tolerance):
    models = pytest.importorskip('mmdet.models')
    theirs = randomise(models.Res2Net(depth=50, **arguments))
    assert_same_function(Res2Net(stage_pool='strided', **V1B, **arguments), theirs, dtype, tolerance)


@pytest.mark.parametrize('strides', [(1, 2, 2, 2), (1, 2, 2, 1)])
def test_the_wrong_stage_pool_is_another_function(strides):
    """The same keys and shapes, so it loads without a word: features differ from layer1 on, as mmdet's do."""
    models = pytest.importorskip('mmdet.models')
    theirs = randomise(models.Res2Net(depth=50, strides=strides))
    theirs.eval()  # returns None in mmdet
    always = Res2Net(stage_pool='always', **V1B, strides=strides).eval()
    always.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 75, 96)
    with torch.no_grad():
        assert all(relative_error(a, b) > 1e-3 for a, b in zip(always(x), theirs(x), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize('dtype, tolerance', PRECISIONS, ids=['float32', 'float64'])
@pytest.mark.parametrize('arguments', [
    dict(deep_stem=False, avg_down=False),
    dict(**V1B, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), base_width=14, scales=8),
], ids=['v1', 'v1b dilated'])
def test_mmpretrain(arguments, dtype, tolerance):
    models = pytest.importorskip('mmpretrain.models')
    theirs = randomise(models.Res2Net(depth=50, **arguments))
    assert_same_function(Res2Net(**arguments), theirs, dtype, tolerance)
