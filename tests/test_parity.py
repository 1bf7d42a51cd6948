"""The same random weights in timm's, mmdet's and mmpretrain's Res2Net and in ours: the same features of all stages."""
import pytest
import torch
from conftest import randomise, relative_error

from res2net_mm import Res2Net

TOLERANCE = 1e-5  # relative, of every stage's output
V1B = dict(deep_stem=True, avg_down=True)


def stage_outputs(theirs, x):
    """What layer1 .. layer4 of another implementation return."""
    outs = []
    hooks = [getattr(theirs, f'layer{i}').register_forward_hook(lambda m, args, out: outs.append(out))
             for i in range(1, 5)]
    theirs(x)
    for hook in hooks:
        hook.remove()
    return outs


def assert_same_function(ours, theirs, x):
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    with torch.no_grad():
        for mine, other in zip(ours(x), stage_outputs(theirs, x), strict=True):
            assert mine.shape == other.shape
            assert relative_error(mine, other) < TOLERANCE


@pytest.mark.parametrize('name, arguments', [
    ('res2net50_26w_4s', {}),
    ('res2net50_48w_2s', dict(base_width=48, scales=2)),
    ('res2net50_14w_8s', dict(base_width=14, scales=8)),
    ('res2net50d', V1B),
    ('res2next50', dict(base_width=4, groups=8)),
    ('resnet50', dict(base_width=64, scales=1)),
    ('resnext50_32x4d', dict(base_width=4, scales=1, groups=32)),
])
def test_timm(name, arguments):
    timm = pytest.importorskip('timm')
    theirs = randomise(timm.create_model(name, num_classes=7))
    if 'res2' in name:
        assert_same_function(Res2Net(**arguments), theirs, torch.randn(2, 3, 75, 96))
        return
    # timm's plain bottlenecks call the 3x3 conv2|bn2, ours convs.0|bns.0
    state = {k.replace('.conv2.', '.convs.0.').replace('.bn2.', '.bns.0.'): v for k, v in theirs.state_dict().items()}
    ours, x = Res2Net(**arguments), torch.randn(2, 3, 75, 96)
    ours.load_state_dict(state)
    ours.eval(), theirs.eval()
    with torch.no_grad():
        for mine, other in zip(ours(x), stage_outputs(theirs, x), strict=True):
            assert relative_error(mine, other) < TOLERANCE


@pytest.mark.parametrize('arguments', [
    {},
    dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    dict(base_width=14, scales=8),
])
def test_mmdet(arguments):
    models = pytest.importorskip('mmdet.models')
    theirs = randomise(models.Res2Net(depth=50, **arguments))
    x = torch.randn(2, 3, 75, 96)
    assert_same_function(Res2Net(stage_pool='strided', **V1B, **arguments), theirs, x)

    # and mmdet's is indeed another function than the one that ImageNet weights were trained as
    always = Res2Net(**V1B, **arguments)
    always.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        assert relative_error(always.eval()(x)[0], theirs(x)[0]) > 1e-2


@pytest.mark.parametrize('arguments', [
    dict(deep_stem=False, avg_down=False),
    dict(**V1B, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), base_width=14, scales=8),
])
def test_mmpretrain(arguments):
    models = pytest.importorskip('mmpretrain.models')
    theirs = randomise(models.Res2Net(depth=50, **arguments))
    assert_same_function(Res2Net(**arguments), theirs, torch.randn(2, 3, 75, 96))
