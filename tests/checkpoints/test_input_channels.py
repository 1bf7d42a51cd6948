"""Weights for images of other channels: as timm adapts them, in every trunk, on every way into a model, if asked."""
import pytest
import torch
from mmengine.runner import load_checkpoint
from torch import nn

from res2net_mm import DLA, BLRes2Net, CifarRes2NeXt, Res2Net, Res2SharedHead
from res2net_mm.checkpoints.convert import convert
from res2net_mm.checkpoints.files import read_checkpoint, write_checkpoint
from res2net_mm.checkpoints.input_channels import adapt_weight
from res2net_mm.cli.convert_checkpoint import main

SMALL = dict(depth=26, base_channels=8, base_width=16)
TRUNKS = {
    'v1': (Res2Net, SMALL, 'conv1.weight'),
    'v1b': (Res2Net, dict(SMALL, arch='res2net50_v1b_26w4s'), 'stem.0.weight'),
    'SE': (Res2Net, dict(SMALL, se_reduction=4), 'conv1.weight'),
    'DLA': (DLA, dict(scales=2, base_width=2), 'base_layer.0.weight'),
    'bLRes2Net': (BLRes2Net, dict(scales=2, base_width=2), 'conv1.weight'),
    'CIFAR': (CifarRes2NeXt, dict(depth=11, base_width=4, groups=1), 'conv1.weight'),
}


def pretrained(path, **options):
    return dict(type='Pretrained', checkpoint=str(path), **options)


@pytest.fixture
def weights(tmp_path):
    """A file of weights for RGB images."""
    state = Res2Net(**SMALL).state_dict()
    write_checkpoint(state, tmp_path / 'rgb.pth')
    return tmp_path / 'rgb.pth', state


@pytest.mark.parametrize('in_channels', [1, 2, 3, 4, 5, 6, 7, 12])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('stored', [3, 1])
def test_the_numbers_are_those_of_timm(in_channels, dtype, stored):
    timm = pytest.importorskip('timm.models')
    weight = torch.randn(8, stored, 7, 7).to(dtype)
    before = weight.clone()
    wanted = timm.adapt_input_conv(in_channels, weight.clone(), **({} if stored == 3 else dict(base_chans=stored)))
    adapted = adapt_weight(weight, in_channels)
    assert adapted.shape == (8, in_channels, 7, 7) and adapted.dtype == dtype
    assert torch.equal(adapted, wanted)
    assert torch.equal(weight, before)


@pytest.mark.parametrize('trunk', TRUNKS)
def test_what_a_backbone_computes(trunk):
    """A grey image gives what three equal channels give, and two images above each other what one of them gives."""
    kind, arguments, first = TRUNKS[trunk]
    source = kind(**arguments, norm_cfg=dict(type='BN')).double().eval()
    option = pretrained('unused.pth', adapt_in_channels=True)
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    grey = image[:, :1]
    for x, same in ((grey, grey.repeat(1, 3, 1, 1)), (image.repeat(1, 2, 1, 1), image), (image, image)):
        model = kind(**arguments, in_channels=x.shape[1], init_cfg=option).double().eval()
        model.load_state_dict(source.state_dict())
        with torch.no_grad():
            for ours, wanted in zip(model(x), source(same)):
                torch.testing.assert_close(ours, wanted)
        stored = source.state_dict()
        changed = [key for key, value in model.state_dict().items() if not torch.equal(value, stored[key])]
        assert changed == ([first] if x is not image else [])


@pytest.mark.slow
@pytest.mark.parametrize('name, kind, arguments', [
    ('res2net50_26w_4s', Res2Net, {}), ('res2net50d', Res2Net, dict(arch='res2net50d')), ('dla60_res2net', DLA, {})])
def test_a_file_of_timm_as_timm_takes_it(name, kind, arguments, tmp_path):
    """The layouts of timm, whose first convolution has other names."""
    timm = pytest.importorskip('timm')
    torch.save(timm.create_model(name).state_dict(), tmp_path / 'rgb.pth')
    for in_channels in (1, 4):
        wanted = timm.create_model(name, pretrained=True, in_chans=in_channels,
                                   pretrained_cfg_overlay=dict(file=str(tmp_path / 'rgb.pth')))
        model = kind(**arguments, in_channels=in_channels,
                     init_cfg=pretrained(tmp_path / 'rgb.pth', adapt_in_channels=True))
        model.init_weights()
        first = next(module for module in wanted.modules() if isinstance(module, nn.Conv2d))
        ours = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        assert ours.weight.shape[1] == in_channels and torch.equal(ours.weight, first.weight)


@pytest.mark.parametrize('in_channels', [1, 4])
@pytest.mark.parametrize('deep_stem', [False, True])
def test_init_cfg_with_the_arguments_of_mmengine(in_channels, deep_stem, tmp_path):
    """A whole model in a file, a prefix, a device, a list; the config stays as the user wrote it."""
    arguments = dict(SMALL, deep_stem=deep_stem)
    state = Res2Net(**arguments).state_dict()
    torch.save({'state_dict': {f'backbone.{key}': value for key, value in state.items()}}, tmp_path / 'a.pth')
    first = 'stem.0.weight' if deep_stem else 'conv1.weight'
    for options in ({}, dict(prefix='backbone.', map_location='cpu')):
        init_cfg = [pretrained(tmp_path / 'a.pth', adapt_in_channels=True, **options)]
        model = Res2Net(**arguments, in_channels=in_channels, init_cfg=init_cfg)
        model.init_weights()
        assert model.init_cfg == init_cfg
        assert torch.equal(model.state_dict()[first], adapt_weight(state[first], in_channels))
        assert torch.equal(model.layer4[1].conv3.weight, state['layer4.1.conv3.weight'])


def test_weights_of_a_whole_detector(weights, tmp_path):
    """load_from: the option of the backbone's init_cfg holds there too, and what fits is loaded as it is."""
    path, state = weights
    whole = {**{f'backbone.{key}': value for key, value in state.items()}, 'neck.weight': torch.ones(2, 2)}
    torch.save({'state_dict': whole}, tmp_path / 'whole.pth')

    def build(**options):
        return nn.ModuleDict(dict(backbone=Res2Net(**SMALL, in_channels=4, init_cfg=pretrained(path, **options)),
                                  neck=nn.Linear(2, 2, bias=False)))

    with pytest.raises(ValueError, match='write adapt_in_channels=True in the backbone.s init_cfg'):
        load_checkpoint(build(), str(tmp_path / 'whole.pth'))
    model = build(adapt_in_channels=True)
    load_checkpoint(model, str(tmp_path / 'whole.pth'))
    adapted = model['backbone'].conv1.weight
    assert torch.equal(adapted, adapt_weight(state['conv1.weight'], 4)) and torch.equal(
        model['neck'].weight, torch.ones(2, 2))

    with torch.no_grad():
        adapted.add_(1)  # trained on
    again = build(adapt_in_channels=True)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again['backbone'].conv1.weight, adapted)


@pytest.mark.parametrize('in_channels', [1, 2, 4, 6])
def test_without_the_option_the_error_names_it(in_channels, weights):
    model = Res2Net(**SMALL, in_channels=in_channels, init_cfg=pretrained(weights[0]))
    before = model.conv1.weight.clone()
    with pytest.raises(ValueError, match=rf'1 of another shape: conv1.weight \(8, 3, 7, 7\).*for images of 3 channels, '
                       rf'and in_channels={in_channels}.*adapt_in_channels=True.*--in-channels {in_channels}$'):
        model.init_weights()
    assert torch.equal(model.conv1.weight, before)


def test_another_stem_is_another_error(weights):
    """A kernel of another size, and weights of a whole other architecture, are nothing that the option mends."""
    path, state = weights
    for arguments in (dict(stem_channels=6), dict(deep_stem=True), dict(scales=2)):
        for options in ({}, dict(adapt_in_channels=True)):
            model = Res2Net(**dict(SMALL, **arguments), in_channels=4, init_cfg=pretrained(path, **options))
            with pytest.raises(ValueError, match='does not fit .* --inspect FILE$'):
                model.init_weights()


def test_what_cannot_be_adapted(tmp_path):
    """Nobody can say which of five channels are red, green and blue; what is left out would be silent."""
    torch.save(Res2Net(**SMALL, in_channels=5).state_dict(), tmp_path / 'five.pth')
    model = Res2Net(**SMALL, init_cfg=pretrained(tmp_path / 'five.pth', adapt_in_channels=True))
    with pytest.raises(ValueError, match='does not fit Res2Net-26 16w4s, nothing was loaded: conv1.weight: weights for '
                       'images of 5 channels cannot be adapted to 3: only those for 3'):
        model.init_weights()


@pytest.mark.parametrize('options, message', [
    (dict(adapt_in_chanels=True), "there is no 'adapt_in_chanels'"),
    (dict(adapt_in_channels='yes'), r"init_cfg.adapt_in_channels='yes' must be one of True, False"),
    (dict(in_channels=4), "of 'type', 'checkpoint', 'prefix', 'map_location', 'adapt_in_channels'; there is no 'in_ch"),
])
def test_a_wrong_option_is_an_error(options, message):
    with pytest.raises(ValueError, match=f'^Res2Net: (init_cfg=.*)?{message}'):
        Res2Net(**SMALL, init_cfg=pretrained('a.pth', **options))


def test_a_head_sees_no_image():
    with pytest.raises(ValueError, match="'map_location'; there is no 'adapt_in_channels'"):
        Res2SharedHead(init_cfg=pretrained('a.pth', adapt_in_channels=True))


@pytest.mark.parametrize('to', ['res2net_mm', 'timm', 'mmdet', 'mmpretrain', 'official'])
def test_converting_weights_in_hand(to):
    """For load_from without an init_cfg, and for who has a dictionary of weights."""
    state = Res2Net(**SMALL, arch='res2net50_v1b_26w4s').state_dict()
    converted, notes = convert(state, to, in_channels=6)
    assert notes[0] == 'images: 3 channels before, 6 now'
    model = Res2Net(**SMALL, arch='res2net50_v1b_26w4s', in_channels=6)
    model.load_state_dict(converted)
    assert torch.equal(model.stem[0].weight, adapt_weight(state['stem.0.weight'], 6))


def test_the_converter(weights, tmp_path, capsys):
    path, state = weights
    main([str(path), str(tmp_path / 'grey.pth'), '--to', 'res2net_mm', '--in-channels', '1'])
    assert 'images: 3 channels before, 1 now' in capsys.readouterr().out
    assert torch.equal(read_checkpoint(tmp_path / 'grey.pth')['conv1.weight'],
                       state['conv1.weight'].sum(1, keepdim=True))
    with pytest.raises(SystemExit) as stop:
        main([str(path), str(tmp_path / 'none.pth'), '--to', 'res2net_mm', '--in-channels', '0'])
    assert 'in_channels=0: must be at least 1' in str(stop.value) + ''.join(capsys.readouterr())
    assert not (tmp_path / 'none.pth').exists()
