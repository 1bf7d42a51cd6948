"""DLA: counts, shapes, parity with timm, every weight used and loaded, every argument doing something."""
import pytest
import torch
from helpers import randomise, relative_error
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import DLA
from res2net_mm.models.complexity import count
from res2net_mm.models.names import ARCHITECTURES

ARCHS = {row.name: row.arguments for row in ARCHITECTURES if row.type == 'res2net_mm.DLA'}

DEAD_SHAPES = {'level3.project.': (256, 128), 'level4.project.': (512, 256), 'level4.tree1.project.': (512, 256)}
DEAD_PARAMS = 297472


def tiny(**arguments):
    """A DLA whose blocks are as narrow as they can be, for tests of what does not depend on width."""
    return DLA(**{**dict(scales=2, base_width=4, groups=1), **arguments})


def shapes(model):
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


# Parameters in M and multiply-adds in G at 224x224, with the 1000-way classifier. The published parameter counts (21.15
# and 17.33 M for the first two) include the dead projections, which are not built here; the multiply-adds do not.
@pytest.mark.parametrize('arch, official_params, params, macs', [
    ('dla60_res2net', 21.146, 20.848, 4.123),
    ('dla60_res2next', 17.330, 17.033, 3.459),
    ('dla60', 22.334, 22.037, 4.236),
    ('dla60x', 17.650, 17.352, 3.517),
])
def test_counts(arch, official_params, params, macs):
    counted, multiply_adds = count(dict(type='res2net_mm.DLA', arch=arch))
    assert f'{counted / 1e6:.3f}' == f'{params:.3f}'
    assert f'{(counted + DEAD_PARAMS) / 1e6:.3f}' == f'{official_params:.3f}'
    assert f'{multiply_adds / 1e9:.3f}' == f'{macs:.3f}'



@pytest.mark.parametrize('arch', ARCHS)
def test_widths(arch):
    """The formula by which timm's arguments define the same models, with the channels of the block's output."""
    with torch.device('meta'):
        model = DLA(arch)
    blocks = [stage.get_submodule(path) for stage, path in zip(
        model.stages, ('tree1', 'tree1.tree1', 'tree1.tree1.tree1', 'tree1'))]
    given = ARCHS[arch]
    assert [block.width for block in blocks] == [
        int(channels * given['base_width'] / 64) * given['groups'] // 2 for channels in (128, 256, 512, 1024)]
    stage_blocks = [name for name, module in model.named_modules() if getattr(module, 'stage_block', False)]
    assert stage_blocks == ['level2.tree1', 'level3.tree1.tree1', 'level4.tree1.tree1.tree1', 'level5.tree1']


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, 3), (3, 1), (2, )])
@pytest.mark.parametrize('size', [(64, 64), (75, 97)])
def test_shapes(out_indices, size):
    model = tiny(out_indices=out_indices).eval()
    with torch.no_grad():
        outs = model(torch.randn(1, 3, *size))
    assert model.out_strides == tuple((4, 8, 16, 32)[i] for i in sorted(out_indices))
    assert model.out_channels == tuple((128, 256, 512, 1024)[i] for i in sorted(out_indices))
    assert [tuple(out.shape) for out in outs] == [
        (1, channels, *(-(-side // stride) for side in size))
        for channels, stride in zip(model.out_channels, model.out_strides, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize('arch', ARCHS)
@pytest.mark.parametrize('dtype, tolerance', [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_timm(arch, dtype, tolerance):
    """The same weights: the same keys, the same features of all stages and the same gradients."""
    timm = pytest.importorskip('timm')
    theirs = randomise(timm.create_model(arch, num_classes=7)).to(dtype).eval()
    ours = DLA(arch).to(dtype).eval()
    ours.load_state_dict(theirs.state_dict())

    x, expected = torch.randn(2, 3, 64, 96, dtype=dtype), []
    for i in range(2, 6):
        getattr(theirs, f'level{i}').register_forward_hook(lambda module, args, out: expected.append(out))
    theirs.forward_features(x)
    outs = ours(x)
    for mine, other in zip(outs, expected, strict=True):
        assert mine.shape == other.shape
        assert relative_error(mine, other) < tolerance
    with torch.no_grad():
        assert relative_error(theirs.forward_head(outs[-1]), theirs.forward_head(expected[-1])) < tolerance

    for features in (outs, expected):
        sum(out.square().mean() for out in features).backward()
    parameters = {name: p for name, p in theirs.named_parameters() if not name.startswith('fc.')}
    for (name, p), (other_name, q) in zip(ours.named_parameters(), parameters.items(), strict=True):
        assert name == other_name.replace('.conv2.', '.convs.0.').replace('.bn2.', '.bns.0.')
        assert relative_error(p.grad, q.grad) < 10 * tolerance, name


@pytest.mark.parametrize('arch', ARCHS)
def test_every_parameter_is_used(arch):
    """What DDP needs without find_unused_parameters."""
    model = DLA(arch).train()
    sum(out.square().mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def official_state(model, plain=False):
    """The model's random weights under the official names, with dead projections and a classifier."""
    state = {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    stored = {k.replace('.convs.0.', '.conv2.').replace('.bns.0.', '.bn2.') if plain else k: v
              for k, v in state.items()}
    for key, (o, i) in DEAD_SHAPES.items():
        projection = nn.ModuleDict({'0': nn.Conv2d(i, o, 1, bias=False), '1': nn.BatchNorm2d(o)})
        stored.update({key + name: value for name, value in projection.state_dict().items()})
    return state, {**stored, 'fc.weight': torch.ones(10, 1024, 1, 1), 'fc.bias': torch.ones(10)}


@pytest.mark.parametrize('scales', [1, 2])
@pytest.mark.parametrize('how', ['load_state_dict', 'init_cfg', 'inside a model'])
def test_official_weights_load(scales, how, tmp_path):
    model = tiny(scales=scales)
    state, stored = official_state(model, plain=scales == 1)
    assert sum(v.numel() for k, v in stored.items() if k.startswith(tuple(DEAD_SHAPES)) and 'running' not in k) == \
        DEAD_PARAMS + 3  # num_batches_tracked
    if how == 'load_state_dict':
        model.load_state_dict(stored)
    elif how == 'init_cfg':
        torch.save(stored, tmp_path / 'official.pth')
        model = tiny(scales=scales, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'official.pth')))
        model.init_weights()
    else:
        nn.ModuleDict({'backbone': model}).load_state_dict({f'backbone.{k}': v for k, v in stored.items()})
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]) or key.endswith('num_batches_tracked'), key
    assert 'fc.weight' in stored and 'level4.project.0.weight' in stored  # the caller's dictionary is left alone


@pytest.mark.parametrize('how, what', [('missing', 'missing: level4.tree2.tree1.root.conv.weight'),
                                       ('left over', 'left over: level5.tree1.project.0.weight'),
                                       ('of another shape', 'of another shape: level2.project.0.weight')])
def test_partial_weights_are_an_error(how, what):
    model = tiny()
    state, stored = official_state(model)
    if how == 'missing':
        del stored['level4.tree2.tree1.root.conv.weight']
    elif how == 'left over':
        stored['level5.tree1.project.0.weight'] = torch.ones(1)
    else:
        stored['level2.project.0.weight'] = torch.ones(1)
    with pytest.raises(ValueError, match=f'DLA-60 1c4w2s .*Keys 1 {what}'):
        model.load_state_dict(stored)


# Every argument changes the function, the parameters or the behaviour in training.
@pytest.mark.parametrize('argument, value', [
    ('arch', 'dla60'), ('scales', 3), ('base_width', 8), ('groups', 2), ('in_channels', 4),
    ('norm_cfg', dict(type='GN', num_groups=1)), ('conv_cfg', dict(type='ConvAWS')),
])
def test_argument_changes_weights(argument, value):
    with torch.device('meta'):
        default, changed = (DLA(), DLA(value)) if argument == 'arch' else (tiny(), tiny(**{argument: value}))
    assert shapes(default) != shapes(changed)


def test_arguments_override_the_architecture():
    with torch.device('meta'):
        for arch, given in ARCHS.items():
            assert shapes(DLA('dla60', **given)) == shapes(DLA(arch))
        assert DLA('dla60_res2net', base_width=14).level2.tree1.width == 14


def test_initialisation(monkeypatch):
    said = []
    monkeypatch.setattr('res2net_mm.models.backbones.base.print_log', lambda message, **kwargs: said.append(message))
    model = tiny()
    model.init_weights()
    conv = model.level5.root.conv.weight
    assert conv.std().item() == pytest.approx((2 / conv.shape[0])**0.5, rel=0.05)  # Kaiming, fan out, 1x1
    assert not said
    tiny(frozen_stages=1).init_weights()
    assert len(said) == 1 and said[0].startswith('DLA starts from RANDOM weights with frozen_stages=1:')

    constant = tiny(init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    constant.init_weights()
    assert (constant.base_layer[0].weight == 0.5).all()


@pytest.mark.parametrize('argument, value, allowed', [
    ('arch', 'dla34', "'dla60_res2net', 'dla60_res2next', 'dla60', 'dla60x'"), ('arch', None, "'dla60'"),
    ('scales', 0, 'from 1 to 256'), ('scales', 4.0, 'from 1 to 256'), ('base_width', 0, 'at least 1'),
    ('groups', -1, 'at least 1'), ('groups', True, 'at least 1'), ('in_channels', 0, 'at least 1'),
    ('out_indices', (0, 4), 'from 0 to 3'), ('out_indices', (-1, ), 'from 0 to 3'), ('out_indices', 3, 'one or more'),
    ('out_indices', (), 'one or more'), ('frozen_stages', 5, 'from -1 to 4'), ('frozen_stages', -2, 'from -1 to 4'),
    ('norm_cfg', 'BN', 'type'), ('norm_eval', None, 'True, False'), ('with_cp', 1, 'True, False'),
])
def test_bad_argument_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=f'^DLA: {argument}') as error:
        DLA(**{argument: value})
    assert allowed in str(error.value)


def test_registry():
    with torch.device('meta'):
        assert isinstance(MODELS.build(dict(type='res2net_mm.DLA', arch='dla60x')), DLA)
    with pytest.raises(TypeError, match='depth'):
        MODELS.build(dict(type='res2net_mm.DLA', depth=60))
