"""ResNeXt-29 and Res2NeXt-29 for CIFAR: counts, the first block, shapes, and every argument doing something."""
import pytest
import torch
from helpers import randomise, relative_error
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import CifarRes2NeXt
from res2net_mm.models.complexity import count

SMALL = dict(depth=20, scales=4, base_width=4, groups=2)
OUTPUTS = [(256, 1), (512, 2), (1024, 4)]  # channels and stride


def millions(**arguments):
    """Parameters of convolutions and a 100-way classifier, without norms, as the paper counts them."""
    return count(dict(type='res2net_mm.CifarRes2NeXt', **arguments), 32, 100, norms=False)[0] / 1e6


# The paper's Table 4 has 24.3, 33.8, 36.7, 34.4 (its cited ResNeXt's number) and 68.1.
@pytest.mark.parametrize('arguments, params', [
    (dict(groups=6, base_width=24, scales=4), 24.302),
    (dict(groups=8, base_width=25, scales=4), 33.829),
    (dict(groups=6, base_width=24, scales=6), 36.718),
    (dict(groups=6, base_width=24, scales=4, first_block='stage'), 23.649),
    (dict(groups=8, base_width=25, scales=4, first_block='stage'), 32.884),
    (dict(groups=6, base_width=24, scales=6, first_block='stage'), 36.065),
    (dict(groups=8, base_width=64, scales=1), 34.461),
    (dict(groups=16, base_width=64, scales=1), 68.147),
])
def test_counts(arguments, params):
    assert f'{millions(**arguments):.3f}' == f'{params:.3f}'


@pytest.mark.parametrize('arguments, params', [
    (dict(groups=8, base_width=64, scales=1), 34.98),
    (dict(groups=6, base_width=24, scales=4), 24.82),
    (dict(groups=8, base_width=25, scales=4), 34.35),
    (dict(groups=6, base_width=24, scales=6), 37.24),
])
def test_counts_with_squeeze_and_excitation(arguments, params):
    assert f'{millions(**arguments, se_reduction=16):.2f}' == f'{params:.2f}'


# The curves of Fig. 5, from depth 29, cardinality 6 and scale 1.
@pytest.mark.slow
@pytest.mark.parametrize('argument, sweep', [
    ('scales', {1: 6.98, 2: 11.89, 3: 18.09, 4: 24.30, 5: 30.51, 6: 36.72}),
    ('groups', {6: 6.98, 12: 13.19, 18: 19.40, 24: 25.61, 30: 31.82, 36: 38.02}),
    ('depth', {29: 6.98, 47: 11.39, 74: 17.99, 101: 24.60, 128: 31.20, 155: 37.80}),
])
def test_counts_of_the_sweep(argument, sweep):
    start = dict(depth=29, groups=6, scales=1, base_width=24)
    assert {value: round(millions(**{**start, argument: value}), 2) for value in sweep} == sweep


@torch.no_grad()
def test_grouped_first_block():
    """One 3×3 over all s·c·w channels in s·c groups, each written out, with the stride, and a projected shortcut."""
    block = randomise(CifarRes2NeXt(**SMALL)).eval().layer2[0]
    x = torch.randn(2, 256, 9, 9)
    u = block.bn1(block.conv1(x)).relu()
    assert u.shape[1] == 4 * 2 * 8 and len(block.convs) == 1  # s·c·⌊128·4/64⌋
    weights = block.convs[0].weight.chunk(8)
    y = torch.cat([nn.functional.conv2d(group, weight, stride=2, padding=1)
                   for group, weight in zip(u.chunk(8, dim=1), weights, strict=True)], 1)
    projection, projection_norm = block.downsample
    shortcut = projection_norm(nn.functional.conv2d(x, projection.weight, stride=2))
    expected = (block.bn3(block.conv3(block.bns[0](y).relu())) + shortcut).relu()
    assert relative_error(block(x), expected) < 1e-5


def test_first_block():
    """Only the first block of a stage differs, and with one split not even that."""
    grouped, stage = CifarRes2NeXt(**SMALL), CifarRes2NeXt(**SMALL, first_block='stage')
    assert [len(block.convs) for s in grouped.stages for block in s] == [1, 3] * 3
    assert [len(block.convs) for s in stage.stages for block in s] == [3, 3] * 3
    assert [isinstance(block.pool, nn.AvgPool2d) for s in grouped.stages for block in s] == [False, False] * 3
    assert [isinstance(block.pool, nn.AvgPool2d) for s in stage.stages for block in s] == [True, False] * 3

    one_split = dict(SMALL, scales=1)
    grouped, stage = randomise(CifarRes2NeXt(**one_split)), CifarRes2NeXt(**one_split, first_block='stage')
    stage.load_state_dict(grouped.state_dict())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(grouped.eval()(x)[-1], stage.eval()(x)[-1])


@torch.no_grad()
@pytest.mark.parametrize('size', [(32, 32), (19, 13)])
@pytest.mark.parametrize('first_block', ['grouped', 'stage'])
@pytest.mark.parametrize('out_indices', [(0, 1, 2), (2, ), (1, 0)])
def test_shapes(size, first_block, out_indices):
    model = CifarRes2NeXt(**SMALL, first_block=first_block, out_indices=out_indices).eval()
    expected = [OUTPUTS[i] for i in sorted(out_indices)]
    assert list(zip(model.out_channels, model.out_strides, strict=True)) == expected
    outs = model(torch.randn(1, 3, *size))
    assert [tuple(out.shape) for out in outs] == [(1, c, -(-size[0] // s), -(-size[1] // s)) for c, s in expected]


@pytest.mark.parametrize('argument, value', [
    ('depth', 29), ('scales', 2), ('base_width', 8), ('groups', 4), ('base_channels', 32), ('first_block', 'stage'),
    ('se_reduction', 16),
    ('in_channels', 1), ('norm_cfg', dict(type='GN', num_groups=1)),
])
def test_argument_changes_weights(argument, value):
    def shapes(arguments):
        with torch.device('meta'):
            return {name: weight.shape for name, weight in CifarRes2NeXt(**arguments).state_dict().items()}

    assert shapes(SMALL) != shapes({**SMALL, argument: value})


def test_initialisation():
    model = CifarRes2NeXt(**SMALL)
    model.init_weights()
    conv = model.layer3[1].conv3.weight
    assert conv.std().item() == pytest.approx((2 / conv.shape[0])**0.5, rel=0.05)  # Kaiming, fan out, 1x1
    assert all((block.bn3.weight == 1).all() for stage in model.stages for block in stage)

    constant = CifarRes2NeXt(**SMALL, init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    constant.init_weights()
    assert (constant.conv1.weight == 0.5).all()


def test_loading_is_whole_or_an_error():
    weights = CifarRes2NeXt(**SMALL).state_dict()
    weights['fc.weight'] = torch.zeros(100, 1024)  # a classifier may be left over
    CifarRes2NeXt(**SMALL).load_state_dict(weights)
    with pytest.raises(ValueError, match='CIFAR Res2NeXt-20 2c4w4s.*layer1.0.convs.1.weight'):
        CifarRes2NeXt(**SMALL, first_block='stage').load_state_dict(weights)


@pytest.mark.parametrize('argument, value, allowed', [
    ('depth', 30, '9n + 2'), ('depth', 2, 'from 11 to 2000'), ('depth', 29.0, 'from 11 to 2000'),
    ('scales', 0, 'from 1 to 256'),
    ('base_width', 0, 'at least 1'), ('groups', 0, 'at least 1'), ('in_channels', '3', 'at least 1'),
    ('first_block', 'plain', "'grouped', 'stage'"), ('se_reduction', None, 'from 0 to 256'),
    ('se_reduction', 512, 'from 0 to 256'), ('se_reduction', True, 'from 0 to 256'),
    ('out_indices', (0, 3), 'from 0 to 2'), ('out_indices', (), 'one or more'), ('frozen_stages', 4, 'from -1 to 3'),
    ('norm_eval', None, 'True, False'), ('with_cp', 1, 'True, False'), ('norm_cfg', 'BN', 'type'),
])
def test_bad_argument_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=argument) as error:
        CifarRes2NeXt(**{**SMALL, argument: value})
    assert allowed in str(error.value)


def test_built_by_scope():
    config = dict(type='res2net_mm.CifarRes2NeXt', **SMALL)
    assert type(MODELS.build(config)) is CifarRes2NeXt
    with pytest.raises(TypeError, match='cardinality'):
        MODELS.build(dict(**config, cardinality=4))
