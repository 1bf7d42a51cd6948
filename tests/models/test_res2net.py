"""The backbone itself: counts, shapes, the equations, and every argument doing something."""
import itertools

import pytest
import torch
from helpers import randomise, relative_error
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import DLA, BLRes2Net, Bottle2neck, CifarRes2NeXt, Res2Net
from res2net_mm.models.complexity import count
from res2net_mm.models.layers.bottle2neck import STAGE_POOLS, make_shortcut
from res2net_mm.models.names import ARCHITECTURES

SMALL = dict(depth=26, base_channels=16, base_width=26)


def equation_1(block, x, scales, stride, dilation, groups, stage_block, stage_pool):
    """The block as the paper writes it, in plain functions: u_1..u_s, K_i, y_1..y_s."""
    hierarchical = stage_pool == 'strided_hierarchical'
    if hierarchical and stride == 1:
        stage_block = False

    def conv_norm(v, conv, bn, **arguments):
        return bn(nn.functional.conv2d(v, conv.weight, **arguments))

    def k(i, v):
        out = conv_norm(v, block.convs[i], block.bns[i], stride=stride, padding=dilation, dilation=dilation,
                        groups=groups)
        return out.relu()

    u = conv_norm(x, block.conv1, block.bn1).relu().chunk(scales, dim=1)
    y = [k(0, u[0])]
    for i in range(1, scales - 1):
        y.append(k(i, u[i] if stage_block else u[i] + y[i - 1]))
    if scales > 1:
        pooled = stage_block and (stage_pool == 'always' or stride == 2)
        y.append(nn.functional.avg_pool2d(u[-1], 3, stride, padding=1, count_include_pad=not hierarchical)
                 if pooled else u[-1])
    out = conv_norm(torch.cat(y, dim=1), block.conv3, block.bn3)
    if not isinstance(block.se, nn.Identity):
        hidden = block.se.fc1(out.mean((2, 3), keepdim=True)).relu()
        out = out * block.se.fc2(hidden).sigmoid()
    shortcut = x if block.downsample is None else conv_norm(x, block.downsample[0], block.downsample[1], stride=stride)
    return (out + shortcut).relu()


GRID = list(itertools.product(
    (3, 4),  # base_width, of one group
    (1, 2),  # groups
    (1, 2),  # stride
    (1, 2),  # dilation
    ((False, 'always'), *((True, stage_pool) for stage_pool in STAGE_POOLS)),  # stage_block, stage_pool
    (0, 4),  # se_reduction
    ('BN', 'GN')))


@pytest.mark.parametrize('scales', range(1, 9))
def test_the_block_is_equation_1(scales):
    for base_width, groups, stride, dilation, (stage_block, stage_pool), se_reduction, norm in GRID:
        if stride == 2 and not stage_block:
            continue
        norm_cfg = dict(type='BN') if norm == 'BN' else dict(type='GN', num_groups=1)
        block = randomise(Bottle2neck(
            8, 12, base_width * groups, scales=scales, groups=groups, stride=stride, dilation=dilation,
            stage_block=stage_block, stage_pool=stage_pool, se_reduction=se_reduction, norm_cfg=norm_cfg,
            downsample=make_shortcut(8, 12, stride, avg_down=False, norm_cfg=norm_cfg))).double().eval()
        x = torch.randn(2, 8, 9, 7, dtype=torch.float64)
        expected = equation_1(block, x, scales, stride, dilation, groups, stage_block, stage_pool)
        assert relative_error(block(x), expected) < 1e-12


@pytest.mark.parametrize('arguments, shapes', [
    ({}, [(64, 16), (128, 8), (256, 4), (512, 2)]),
    (dict(out_indices=(1, 3)), [(128, 8), (512, 2)]),
    (dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), [(64, 16), (128, 8), (256, 4), (512, 4)]),
    (dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)), [(64, 16), (128, 8), (256, 8), (512, 8)]),
    (dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2, )), [(256, 4)]),
    (dict(deep_stem=True, avg_down=True), [(64, 16), (128, 8), (256, 4), (512, 2)]),
])
def test_shapes(arguments, shapes):
    outs = Res2Net(**SMALL, **arguments)(torch.randn(1, 3, 64, 64))
    assert [tuple(out.shape) for out in outs] == [(1, c, size, size) for c, size in shapes]


@pytest.mark.parametrize('deep_stem', [False, True])
def test_stem_feature(deep_stem):
    """It comes first whatever the order, is what is pooled into the first stage, and leaves the others as they are."""
    model = randomise(Res2Net(**SMALL, deep_stem=deep_stem, stem_channels=12, out_indices=(3, 'stem', 0))).eval()
    plain = Res2Net(**SMALL, deep_stem=deep_stem, stem_channels=12, out_indices=(0, 3)).eval()
    plain.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 65, 64)
    stem, *stages = model(x)
    assert model.out_indices == ('stem', 0, 3)
    assert model.out_channels == (12, 64, 512) and model.out_strides == (2, 4, 32)
    assert stem.shape == (1, 12, 33, 32) and stem.min() == 0 < stem.max()
    assert all(torch.equal(a, b) for a, b in zip(stages, plain(x)))
    assert torch.equal(model.layer1(torch.nn.functional.max_pool2d(stem, 3, 2, 1)), stages[0])
    frozen = Res2Net(**SMALL, deep_stem=deep_stem, out_indices=('stem', 0), frozen_stages=0).train()
    stem, stage = frozen(x)
    assert not stem.requires_grad and stage.requires_grad


@pytest.mark.parametrize('trunk', [DLA, BLRes2Net, CifarRes2NeXt])
def test_other_trunks_have_no_stem_feature(trunk):
    with pytest.raises(ValueError, match=rf"{trunk.__name__}: out_indices\[0\]='stem' must be an integer"):
        trunk(out_indices=('stem', 0))


def test_a_res2net_200_has_the_published_parameters():
    """PaddleClas: 3, 12, 48 and 3 blocks; 76.2 M in its docs, where 76.21 is cut off, not rounded."""
    with torch.device('meta'):
        assert [len(stage) for stage in Res2Net('res2net200_vd_26w4s').stages] == [3, 12, 48, 3]
    params, _ = count(dict(type='res2net_mm.Res2Net', arch='res2net200_vd_26w4s'))
    assert f'{params / 1e6:.1f}' == '76.2' and int(params / 1e4) / 100 == 76.21


def test_depths():
    for depth, blocks in {26: 8, 50: 16, 101: 33, 152: 50, 200: 66}.items():
        with torch.device('meta'):
            model = Res2Net(depth=depth)
        assert sum(len(stage) for stage in model.stages) == blocks
        assert 3 * blocks + 2 == depth


# Every argument changes the function, the parameters or the behaviour in training: (value, what must differ).
@pytest.mark.parametrize('argument, value', [
    ('depth', 50), ('scales', 2), ('base_width', 52), ('groups', 2), ('in_channels', 4), ('stem_channels', 8),
    ('base_channels', 32), ('deep_stem', True), ('avg_down', True), ('norm_cfg', dict(type='GN', num_groups=1)),
    ('conv_cfg', dict(type='ConvAWS')), ('se_reduction', 16), ('arch', 'res2net50_48w2s'),
    ('plugins', [dict(cfg=dict(type='ContextBlock', ratio=1 / 4), position='after_conv2')]),
])
def test_argument_changes_weights(argument, value):
    def shapes(model):
        return {name: (value.shape, name) for name, value in model.state_dict().items()}

    assert shapes(Res2Net(**SMALL)) != shapes(Res2Net(**{**SMALL, argument: value}))


@pytest.mark.parametrize('argument, value', [
    ('strides', (1, 2, 2, 1)), ('dilations', (1, 1, 1, 2)), ('style', 'caffe'), ('stage_pool', 'strided'),
    ('stage_pool', 'strided_hierarchical'),
    ('out_indices', (3, )), ('multi_grid', (1, 2)),
])
def test_argument_changes_function(argument, value):
    default, changed = randomise(Res2Net(**SMALL)).eval(), Res2Net(**SMALL, **{argument: value}).eval()
    changed.load_state_dict(default.state_dict())
    x = torch.randn(1, 3, 64, 64)
    last = 0 if argument == 'out_indices' else -1
    before, after = default(x)[last], changed(x)[last]
    assert before.shape != after.shape or relative_error(after, before) > 1e-3


def test_stage_pool_differs_only_at_stride_1():
    always, strided = randomise(Res2Net(**SMALL)).eval(), Res2Net(**SMALL, stage_pool='strided').eval()
    pooled = {model: [isinstance(stage[0].pool, nn.AvgPool2d) for stage in model.stages] for model in (always, strided)}
    assert pooled == {always: [True] * 4, strided: [False, True, True, True]}


@pytest.mark.parametrize('size', [(64, 64), (75, 97)])
def test_the_third_stage_pool_without_strides_is_made_of_ordinary_blocks(size):
    """Where no 3x3 has a stride; elsewhere it differs from 'strided' by the padding alone, at the border."""
    x = torch.randn(1, 3, *size)
    hierarchical = randomise(Res2Net(**SMALL, stage_pool='strided_hierarchical')).eval()
    strided = Res2Net(**SMALL, stage_pool='strided').eval()
    strided.load_state_dict(hierarchical.state_dict())
    assert [stage[0].stage_block for stage in hierarchical.stages] == [False, True, True, True]
    strided.layer1 = hierarchical.layer1
    out, other = hierarchical(x)[1], strided(x)[1]
    inner = (..., slice(1, -1), slice(1, -1))
    first, ordinary = (model.layer2[0](hierarchical(x)[0]) for model in (hierarchical, strided))
    assert relative_error(first[inner], ordinary[inner]) < 1e-6 < 1e-3 < relative_error(first, ordinary)
    assert relative_error(out, other) > 1e-3
    ones = torch.ones(1, 1, 5, 5)
    assert torch.equal(hierarchical.layer2[0].pool(ones), ones[..., :3, :3])
    assert strided.layer2[0].pool(ones)[0, 0, 0, 0] == pytest.approx(4 / 9)
    caffe = randomise(Res2Net(**SMALL, stage_pool='strided_hierarchical', style='caffe')).eval()
    assert not any(stage[0].stage_block for stage in caffe.stages)  # there the stride is on a 1x1


def test_stage_pool_is_that_of_the_arch_unless_given():
    with torch.device('meta'):
        assert Res2Net().stage_pool == Res2Net('res2net50_v1b_26w4s').stage_pool == 'always'
        assert Res2Net('res2net50_vd_26w4s').stage_pool == 'strided_hierarchical'
        assert not Res2Net('res2net50_vd_26w4s').layer1[0].stage_block
        assert Res2Net('res2net50_vd_26w4s', stage_pool='always').layer1[0].stage_block
        assert Res2Net('res2net50_26w4s', stage_pool='strided_hierarchical').layer2[0].pool.count_include_pad is False


def test_a_block_has_no_other_stage_pool():
    with pytest.raises(ValueError, match="stage_pool='never' must be one of 'always', 'strided', 'strided_hierarchic"):
        Bottle2neck(8, 8, 2, stage_pool='never')


def test_initialisation():
    model = Res2Net(**SMALL)
    model.init_weights()
    conv = model.layer3[0].conv1.weight
    assert conv.std().item() == pytest.approx((2 / conv.shape[0])**0.5, rel=0.05)  # Kaiming, fan out, 1x1
    assert all((b.bn3.weight == 1).all() for s in model.stages for b in s)

    zeroed = Res2Net(**SMALL, zero_init_residual=True)
    zeroed.init_weights()
    assert all((b.bn3.weight == 0).all() and (b.bn1.weight == 1).all() for s in zeroed.stages for b in s)

    constant = Res2Net(**SMALL, init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    constant.init_weights()
    assert (constant.conv1.weight == 0.5).all()


@pytest.mark.parametrize('arguments', [dict(frozen_stages=1), dict(norm_eval=True)])
def test_random_weights_held_fixed_are_announced(arguments, monkeypatch):
    said = []
    monkeypatch.setattr('res2net_mm.models.backbones.base.print_log', lambda message, **kwargs: said.append(message))
    Res2Net(**SMALL).init_weights()
    assert not said
    Res2Net(**SMALL, **arguments).init_weights()
    assert len(said) == 1 and 'RANDOM' in said[0] and next(iter(arguments)) in said[0]


@pytest.mark.parametrize('argument, value, allowed', [
    ('depth', 34, '26, 50, 101, 152, 200'), ('depth', '50', '26, 50, 101, 152, 200'), ('scales', 0, 'from 1 to 256'),
    ('scales', 4.0, 'from 1 to 256'), ('base_width', 0, 'at least 1'), ('base_width', 3, 'at least 4'),
    ('groups', 0, 'at least 1'), ('in_channels', 0, 'at least 1'), ('base_channels', -1, 'at least 1'),
    ('stem_channels', 0, 'at least 1'), ('num_stages', 5, 'from 1 to 4'), ('strides', (1, 2, 2), '4 integers'),
    ('strides', (1, 2, 0, 2), 'at least 1'), ('dilations', (1, 1, 1, 1, 1), '4 integers'),
    ('dilations', 1, '4 integers'), ('out_indices', (0, 4), 'from 0 to 3'), ('out_indices', (), 'one or more'),
    ('out_indices', (-1, ), 'from 0 to 3'), ('out_indices', ('Stem', 0), "from 0 to 3 or 'stem'"),
    ('out_indices', 'stem', 'one or more'),
    ('frozen_stages', 5, 'from -1 to 4'), ('style', 'tensorflow', "'pytorch', 'caffe'"),
    ('stage_pool', 'never', "'always', 'strided', 'strided_hierarchical'"),
    ('deep_stem', 'yes', 'True, False'), ('avg_down', 1, 'True, False'),
    ('norm_eval', None, 'True, False'), ('with_cp', 1, 'True, False'), ('zero_init_residual', 0, 'True, False'),
    ('norm_cfg', 'BN', 'type'), ('arch', 'res2net51', 'res2net50_26w4s'), ('se_reduction', -1, 'from 0 to 64'),
    ('contract_dilation', None, 'True, False'), ('multi_grid', (1, 2, 4), '2 integers'), ('dcn', 'DCNv2', 'type'),
    ('plugins', [dict(cfg=dict(type='ContextBlock'), position='after_conv4')], "'after_conv3'"),
    ('plugins', [dict(position='after_conv1')], 'type'),
    ('plugins', [dict(cfg=dict(type='ContextBlock'), position='after_conv1', stages=(True, ))], '4 of True and False'),
])
def test_bad_argument_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=argument) as error:
        Res2Net(**{**SMALL, argument: value})
    assert allowed in str(error.value)


def test_stage_with_dcn_is_named():
    with pytest.raises(ValueError, match='stage_with_dcn.*4 of True and False'):
        Res2Net(**SMALL, dcn=dict(type='DCNv2'), stage_with_dcn=(True, ))


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_dcn_in_its_stages(kind):
    pytest.importorskip('mmcv.ops')
    model = Res2Net(**SMALL, dcn=dict(type=kind, deform_groups=1), stage_with_dcn=(False, False, True, True))
    deformable = [hasattr(stage[1].convs[0], 'conv_offset') for stage in model.stages]
    assert deformable == [False, False, True, True]
    loss = sum(out.square().mean() for out in model(torch.randn(1, 3, 128, 128)))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_plugins_at_their_stages_and_widths():
    """Every position has the channels of what is there: mmdet's Res2Net builds the first two with the wrong ones."""
    positions = ('after_conv1', 'after_conv2', 'after_conv3')
    plugins = [dict(cfg=dict(type='ContextBlock', ratio=1 / 4), position=position, postfix=str(i),
                    stages=(False, True, False, True)) for i, position in enumerate(positions)]
    model = randomise(Res2Net(**SMALL, plugins=plugins)).eval()
    channels = [[layer.in_channels for name, layer in stage[0].named_children() if 'context' in name]
                for stage in model.stages]
    assert channels == [[], [52, 52, 128], [], [208, 208, 512]]
    model(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="two layers of a block are called 'context_block'"):
        Res2Net(**SMALL, plugins=[dict(plugin, postfix='') for plugin in plugins])


def test_dilations_of_single_blocks():
    def dilations(**arguments):
        model = Res2Net(**SMALL, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), **arguments)
        return [[block.convs[0].dilation[0] for block in stage] for stage in model.stages]

    assert dilations() == [[1, 1], [1, 1], [2, 2], [4, 4]]
    assert dilations(contract_dilation=True) == [[1, 1], [1, 1], [1, 2], [2, 4]]
    assert dilations(multi_grid=(1, 2)) == [[1, 1], [1, 1], [2, 2], [1, 2]]


@pytest.mark.slow
def test_every_name_builds_what_it_says():
    for row in ARCHITECTURES:
        for name in (row.name, *row.aliases) if row.type == 'res2net_mm.Res2Net' else ():
            with torch.device('meta'):
                model = Res2Net(name)
            assert model.variant == 'Res2Net-{depth} {base_width}w{scales}s'.format(**row.arguments)
    assert Res2Net('res2net101d', **{**SMALL, 'base_width': 14}).variant == 'Res2Net-26 14w4s'


def test_out_channels_and_strides():
    model = Res2Net(**SMALL, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(1, 3))
    outs = model(torch.randn(1, 3, 64, 64))
    assert model.out_channels == tuple(out.shape[1] for out in outs) == (128, 512)
    assert model.out_strides == tuple(64 // out.shape[2] for out in outs) == (8, 16)


def test_unknown_argument_is_an_error():
    with pytest.raises(TypeError, match='scale'):
        MODELS.build(dict(type='res2net_mm.Res2Net', scale=4))
