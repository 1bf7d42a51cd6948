"""Big-Little Net around the Res2Net block: counts, keys, the equations spelled out, every argument doing something."""
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from helpers import randomise, relative_error
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import BLRes2Net, Bottle2neck
from res2net_mm.models import complexity

SMALL = dict(scales=2, base_width=8)
BL_RESNET = dict(scales=1, base_width=64)
OUTPUTS = [(256, 8), (512, 16), (1024, 16), (2048, 32)]  # channels and stride


# Parameters in M and multiply-adds of convolutions and classifier in G, at 224x224 with 1000 classes. Those of
# bLResNet-50 and bLRes2Net-50 were worked out apart from this code; those of depth 101 hold what it gives.
@pytest.mark.slow
@pytest.mark.parametrize('arguments, params, macs', [
    (BL_RESNET, 26.695, 2.856),
    (dict(), 26.846, 2.994),
    (dict(**BL_RESNET, depth=101), 41.852, 3.893),
    (dict(depth=101), 42.414, 4.059),
])
def test_counts(arguments, params, macs):
    counted, multiply_adds = complexity.count(dict(type='res2net_mm.BLRes2Net', **arguments))
    assert f'{counted / 1e6:.3f}' == f'{params:.3f}'
    assert f'{multiply_adds / 1e9:.3f}' == f'{macs:.3f}'


def test_keys():
    """The layers of bLResNet-50 under their published names, but for the 3×3: ``convs.0|bns.0``, not ``conv2|bn2``."""
    convs = ['conv1', 'b_conv0', 'l_conv0', 'l_conv1', 'l_conv2', 'bl_init']
    norms = ['bn1', 'bn_b0', 'bn_l0', 'bn_l1', 'bn_l2', 'bn_bl_init']
    blocks = {'layer1.big': 2, 'layer1.little': 1, 'layer1.fusion': 1, 'layer2.big': 3, 'layer2.little': 1,
              'layer2.fusion': 1, 'layer3.big': 5, 'layer3.little': 1, 'layer3.fusion': 1, 'layer4': 3}
    for name, count in blocks.items():
        for b in range(count):
            convs += [f'{name}.{b}.{conv}' for conv in ('conv1', 'convs.0', 'conv3')]
            norms += [f'{name}.{b}.{bn}' for bn in ('bn1', 'bns.0', 'bn3')]
    # a shortcut with a stride starts with its pooling; those of the other sequences have no weights
    shortcuts = {'layer1.big.0': 1, 'layer1.little.0': 0, 'layer2.big.0': 1, 'layer3.big.0': 1, 'layer4.0': 1}
    convs += [f'{name}.downsample.{i}' for name, i in shortcuts.items()]
    norms += [f'{name}.downsample.{i + 1}' for name, i in shortcuts.items()]
    convs += [f'layer{i}.little_e.0' for i in (1, 2, 3)]
    norms += [f'layer{i}.little_e.1' for i in (1, 2, 3)]
    statistics = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    expected = {f'{conv}.weight' for conv in convs} | {f'{bn}.{name}' for bn in norms for name in statistics}
    with torch.device('meta'):
        assert set(BLRes2Net(**BL_RESNET).state_dict()) == expected


def reference(state, x, scales):
    """Depth 50 with β = 4, from the paper's description and a state dict, without any module. Four feature maps."""

    def conv(name, x, stride=1):
        weight = state[f'{name}.weight']
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(name, x):
        return F.batch_norm(x, *(state[f'{name}.{key}'] for key in ('running_mean', 'running_var', 'weight', 'bias')))

    def block(name, x, stride=1, last_relu=True):
        shortcut, index = x, 0
        if stride == 2:
            shortcut, index = F.avg_pool2d(x, 3, stride=2, padding=1), 1
        widens = x.shape[1] != state[f'{name}.conv3.weight'].shape[0]
        if widens:
            shortcut = bn(f'{name}.downsample.{index + 1}', conv(f'{name}.downsample.{index}', shortcut))

        u = bn(f'{name}.bn1', conv(f'{name}.conv1', x)).relu().chunk(scales, dim=1)
        y = []
        for i in range(max(scales - 1, 1)):
            adds = i > 0 and not (stride == 2 or widens)
            y.append(bn(f'{name}.bns.{i}', conv(f'{name}.convs.{i}', u[i] + y[-1] if adds else u[i], stride)).relu())
        if scales > 1:
            y.append(F.avg_pool2d(u[-1], 3, stride=stride, padding=1) if stride == 2 or widens else u[-1])
        out = bn(f'{name}.bn3', conv(f'{name}.conv3', torch.cat(y, 1))) + shortcut
        return out.relu() if last_relu else out

    def big_little(name, x, big_blocks, stride):
        little = block(f'{name}.little.0', x)
        little = bn(f'{name}.little_e.1', conv(f'{name}.little_e.0', little))
        big = block(f'{name}.big.0', x, stride=2)
        for b in range(1, big_blocks):
            big = block(f'{name}.big.{b}', big, last_relu=b < big_blocks - 1)
        rows, columns = (torch.arange(size) * small // size for size, small in zip(little.shape[2:], big.shape[2:]))
        return block(f'{name}.fusion.0', (big[:, :, rows][:, :, :, columns] + little).relu(), stride)

    x = bn('bn1', conv('conv1', x, 2)).relu()
    little = bn('bn_l0', conv('l_conv0', x)).relu()
    little = bn('bn_l1', conv('l_conv1', little, 2)).relu()
    x = (bn('bn_b0', conv('b_conv0', x, 2)) + bn('bn_l2', conv('l_conv2', little))).relu()
    x = bn('bn_bl_init', conv('bl_init', x)).relu()
    x1 = big_little('layer1', x, big_blocks=2, stride=2)
    x2 = big_little('layer2', x1, big_blocks=3, stride=2)
    x3 = big_little('layer3', x2, big_blocks=5, stride=1)
    x4 = block('layer4.2', block('layer4.1', block('layer4.0', x3, stride=2)))
    return x1, x2, x3, x4


@torch.no_grad()
@pytest.mark.parametrize('arguments', [BL_RESNET, dict()], ids=['bLResNet-50', 'bLRes2Net-50'])
@pytest.mark.parametrize('size', [(64, 64), (97, 75)])
def test_equation(arguments, size):
    model, image = randomise(BLRes2Net(**arguments)).eval(), torch.randn(1, 3, *size)
    outs = model(image)
    for ours, theirs in zip(outs, reference(model.state_dict(), image, arguments.get('scales', 4)), strict=True):
        assert relative_error(ours, theirs) < 1e-5


def test_widths_and_stage_blocks():
    """w = ⌊p·26/64⌋ in every branch, and only the blocks that change the shape pool their last split."""
    with torch.device('meta'):
        model = BLRes2Net()
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, Bottle2neck)}
    widths = {name: block.width for name, block in blocks.items() if name.endswith('.0')}
    assert widths == {
        'layer1.big.0': 26, 'layer1.little.0': 13, 'layer1.fusion.0': 26,
        'layer2.big.0': 52, 'layer2.little.0': 26, 'layer2.fusion.0': 52,
        'layer3.big.0': 104, 'layer3.little.0': 52, 'layer3.fusion.0': 104, 'layer4.0': 208,
    }
    assert {name for name, block in blocks.items() if block.stage_block} == {
        name for name, block in blocks.items() if isinstance(block.pool, nn.AvgPool2d)
    } == {'layer1.big.0', 'layer1.little.0', 'layer1.fusion.0', 'layer2.big.0', 'layer2.fusion.0', 'layer3.big.0',
          'layer4.0'}
    assert {name for name, block in blocks.items() if not block.last_relu} == {
        'layer1.big.1', 'layer2.big.2', 'layer3.big.4'}


def test_depth_101():
    with torch.device('meta'):
        model = BLRes2Net(depth=101)
    sequences = [(len(s.big), len(s.little), len(s.fusion)) for s in model.stages[:3]]
    assert sequences == [(3, 1, 1), (7, 1, 1), (17, 3, 1)] and len(model.layer4) == 3


@torch.no_grad()
@pytest.mark.parametrize('size', [(64, 96), (97, 75), (33, 1)])
@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (3, ), (2, 0)])
def test_shapes(size, out_indices):
    model = BLRes2Net(**SMALL, out_indices=out_indices).eval()
    expected = [OUTPUTS[i] for i in sorted(out_indices)]
    assert list(zip(model.out_channels, model.out_strides, strict=True)) == expected
    outs = model(torch.randn(1, 3, *size))
    assert [tuple(out.shape) for out in outs] == [(1, c, -(-size[0] // s), -(-size[1] // s)) for c, s in expected]


@pytest.mark.parametrize('argument, value', [
    ('depth', 101), ('scales', 3), ('base_width', 16), ('alpha', 4), ('beta', 2), ('in_channels', 4),
    ('norm_cfg', dict(type='GN', num_groups=1)), ('conv_cfg', dict(type='ConvAWS')),
])
def test_argument_changes_weights(argument, value):
    def shapes(arguments):
        with torch.device('meta'):
            return {name: weight.shape for name, weight in BLRes2Net(**arguments).state_dict().items()}

    assert shapes(SMALL) != shapes({**SMALL, argument: value})


@pytest.mark.slow
def test_initialisation(tmp_path):
    zeroed, plain = BLRes2Net(**SMALL), BLRes2Net(**SMALL, zero_init_residual=False)
    for model, value in ((zeroed, 0), (plain, 1)):
        model.init_weights()
        conv = model.layer4[1].conv1.weight
        assert conv.std().item() == pytest.approx((2 / conv.shape[0])**0.5, rel=0.05)  # Kaiming, fan out, 1x1
        blocks = [m for m in model.modules() if isinstance(m, Bottle2neck)]
        assert all((b.bn3.weight == value).all() and (b.bn1.weight == 1).all() for b in blocks)
        assert (model.layer1.little_e[1].weight == 1).all()

    torch.save(plain.state_dict(), tmp_path / 'weights.pth')
    loaded = BLRes2Net(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')))
    loaded.init_weights()
    for name, weight in plain.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


def test_loading_is_whole_or_an_error():
    model = BLRes2Net(**SMALL)
    weights = model.state_dict()
    weights['fc.weight'] = torch.zeros(1000, 2048)  # a classifier may be left over
    model.load_state_dict(weights)
    del weights['layer1.little_e.0.weight']
    with pytest.raises(ValueError, match='bLRes2Net-50 8w2s.*1 missing: layer1.little_e.0.weight'):
        model.load_state_dict(weights)


@pytest.mark.parametrize('argument, value, allowed', [
    ('depth', 152, '50, 101'), ('depth', '50', '50, 101'),
    ('scales', 0, 'from 1 to 256'), ('scales', 4.0, 'from 1 to 256'),
    ('base_width', 0, 'at least 1'), ('base_width', 1, 'at least 2'), ('alpha', 0, 'at least 1'),
    ('alpha', 3, 'divisor of 64'), ('alpha', 2.0, 'at least 1'), ('beta', 0, 'at least 1'),
    ('in_channels', 0, 'at least 1'), ('out_indices', (0, 4), 'from 0 to 3'), ('out_indices', (), 'one or more'),
    ('out_indices', 3, 'one or more'), ('frozen_stages', 5, 'from -1 to 4'), ('frozen_stages', -2, 'from -1 to 4'),
    ('norm_eval', None, 'True, False'), ('with_cp', 1, 'True, False'), ('zero_init_residual', 0, 'True, False'),
    ('conv_cfg', 'Conv2d', 'type'), ('norm_cfg', 'BN', 'type'), ('norm_cfg', {}, 'type'),
])
def test_bad_argument_is_named(argument, value, allowed):
    with pytest.raises(ValueError, match=argument) as error:
        BLRes2Net(**{**SMALL, argument: value})
    assert allowed in str(error.value)


def test_built_by_scope():
    config = dict(type='res2net_mm.BLRes2Net', **SMALL)
    assert type(MODELS.build(config)) is BLRes2Net
    with pytest.raises(TypeError, match='groups'):
        MODELS.build(dict(**config, groups=4))
