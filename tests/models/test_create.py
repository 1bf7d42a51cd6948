"""``res2net_mm.create``: every architecture by name, in the place of the authors' v1b encoder and of timm's.

The encoder that segmentation models copy (``Res2Net_v1b.py``) is written here again, from its names and its function.
"""
import copy
import pickle
import re
import sys
from types import ModuleType

import pytest
import torch
from helpers import ROOT, randomise, relative_error, slow_except
from torch import nn
from torch.nn.functional import interpolate, mse_loss, relu

import res2net_mm
from res2net_mm import registry
from res2net_mm.checkpoints.files import write_checkpoint
from res2net_mm.checkpoints.weights import WeightFile, Weights
from res2net_mm.models import names, pretrained
from res2net_mm.models.backbones.base import Backbone
from res2net_mm.models.public_weights import WEIGHTS

V1B = 'res2net50_v1b_26w4s'
TINY = dict(depth=26, base_channels=16)
IN_ORDER = 'conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4'


class AuthorsBlock(nn.Module):

    def __init__(self, inputs, planes, stride, first, dilation):
        super().__init__()
        width = planes * 26 // 64
        self.first = first
        self.conv1, self.bn1 = nn.Conv2d(inputs, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False) for _ in range(3))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.conv3, self.bn3 = nn.Conv2d(4 * width, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.pool = nn.AvgPool2d(3, stride, 1)
        self.downsample = nn.Sequential(
            nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(inputs, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)) if first else nn.Identity()

    def forward(self, x):
        *splits, last = relu(self.bn1(self.conv1(x))).chunk(4, 1)
        parts = []
        for split, conv, bn in zip(splits, self.convs, self.bns, strict=True):
            summed = split if self.first or not parts else split + parts[-1]
            parts.append(relu(bn(conv(summed))))
        parts.append(self.pool(last) if self.first else last)
        return relu(self.bn3(self.conv3(torch.cat(parts, 1))) + self.downsample(x))


class AuthorsEncoder(nn.Module):

    def __init__(self, blocks=(2, 2, 2, 2), planes=16, dilations=(1, 1, 1, 1)):
        super().__init__()
        layers, channels = [], 3
        for outputs, stride in ((planes // 2, 2), (planes // 2, 1), (planes, 1)):
            layers += [nn.Conv2d(channels, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        self.conv1, self.bn1, self.relu = nn.Sequential(*layers[:-2]), layers[-2], layers[-1]
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i in range(4):
            stage = []
            for b in range(blocks[i]):
                stage.append(AuthorsBlock(channels, planes << i, 2 if i and not b else 1, not b, dilations[i]))
                channels = 4 * planes << i
            self.add_module(f'layer{i + 1}', nn.Sequential(*stage))
        self.fc = nn.Linear(channels, 1000)


class Segmentor(nn.Module):
    """A model that calls its encoder's layers one by one, and makes a mask of the last three stages."""

    def __init__(self, resnet, planes=16):
        super().__init__()
        self.resnet = resnet
        self.reduce = nn.ModuleList(nn.Conv2d(4 * planes << i, 8, 1) for i in (1, 2, 3))

    def forward(self, x):
        features = [x]
        for name in IN_ORDER:
            features.append(getattr(self.resnet, name)(features[-1]))
        reduced = [reduce(feature) for reduce, feature in zip(self.reduce, features[-3:], strict=True)]
        mask = sum(interpolate(x, reduced[0].shape[2:], mode='bilinear') for x in reduced)
        return mask, tuple(features[-4:])


def twins(dtype=torch.float32, theirs=None, **arguments):
    """A model around the authors' encoder and one around ours, with the same weights."""
    theirs = theirs or Segmentor(AuthorsEncoder())
    ours = Segmentor(res2net_mm.create(V1B, **TINY, **arguments))
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict())  # strict, under the prefix 'resnet.', with their classifier in it
    return ours.to(dtype), theirs.to(dtype)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of weights; nothing is asked of any host."""
    monkeypatch.setenv('RES2NET_MM_WEIGHTS', str(tmp_path))
    monkeypatch.setattr(pretrained, 'fetch', lambda weights: pytest.fail(f'{weights.name} was to be fetched'))
    return tmp_path


def add_weights(monkeypatch, *added):
    """Let there be more public weights."""
    for module in ('create', 'names', 'pretrained'):
        monkeypatch.setattr(f'res2net_mm.models.{module}.WEIGHTS', (*WEIGHTS, *added))


def pools(model):
    return isinstance(model.layer1[0].pool, nn.AvgPool2d)


# In the place of the authors' encoder.


@pytest.mark.parametrize('dilations', [(1, 1, 1, 1), (1, 1, 2, 4)], ids=['plain', 'UACANet'])
def test_the_same_features_as_the_authors_encoder(dilations):
    ours, theirs = twins(theirs=Segmentor(AuthorsEncoder(dilations=dilations)), dilations=dilations)
    ours.eval(), theirs.eval()
    x = torch.randn(2, 3, 75, 96)
    with torch.no_grad():
        (mask, features), (wanted, others) = ours(x), theirs(x)
        assert relative_error(mask, wanted) < 1e-5
        for feature, whole, other in zip(features, ours.resnet(x), others, strict=True):
            assert relative_error(feature, other) < 1e-5 and torch.equal(feature, whole)
        other_function, _ = twins(theirs=theirs, dilations=dilations, stage_pool='strided')
        other_function.load_state_dict(theirs.state_dict())
        assert relative_error(other_function.eval()(x)[0], theirs(x)[0]) > 1e-3


def test_the_same_training_step_as_with_the_authors_encoder():
    """Also as nn.DataParallel saves it; the stem has other names here, all else the same."""
    ours, theirs = twins(torch.float64)
    nn.DataParallel(ours).load_state_dict(nn.DataParallel(theirs).state_dict())
    x, mask = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.rand(2, 8, 8, 8, dtype=torch.float64)
    for model in (ours, theirs):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        mse_loss(model.train()(x)[0], mask).backward()
        optimizer.step()
    grads = {name: p.grad for name, p in theirs.named_parameters() if '.fc.' not in name}
    renamed = {re.sub(r'\.stem\.(\d)\.', lambda m: '.bn1.' if m[1] == '7' else f'.conv1.{m[1]}.', name): p.grad
               for name, p in ours.named_parameters()}
    assert renamed.keys() == grads.keys()
    assert all(relative_error(renamed[name], grads[name]) < 1e-8 for name in grads)
    for ours_now, theirs_now in zip(ours.resnet.layer4.buffers(), theirs.resnet.layer4.buffers(), strict=True):
        assert torch.allclose(ours_now.double(), theirs_now.double(), atol=1e-8)  # running statistics


@pytest.mark.slow
def test_the_same_features_as_the_authors_encoder_at_full_size():
    theirs = randomise(AuthorsEncoder((3, 4, 6, 3), 64)).eval()
    ours = res2net_mm.create(V1B).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        others = [x]
        for name in IN_ORDER:
            others.append(getattr(theirs, name)(others[-1]))
        for feature, other in zip(ours(x), others[-4:], strict=True):
            assert relative_error(feature, other) < 1e-5


def test_a_checkpoint_with_half_an_encoder_is_refused():
    ours, theirs = twins()
    state = theirs.state_dict()
    del state['resnet.layer3.1.convs.0.weight']
    with pytest.raises(ValueError, match=r'layer3\.1\.convs\.0\.weight'):
        ours.load_state_dict(state, strict=False)


def test_the_encoder_out_of_a_trained_model(folder):
    _, theirs = twins()
    torch.save(theirs.state_dict(), folder / 'PraNet-19.pth')
    model = res2net_mm.create(V1B, pretrained=folder / 'PraNet-19.pth', **TINY)
    assert torch.equal(model.bn1.weight, theirs.resnet.bn1.weight)
    assert torch.equal(model.layer4[1].conv3.weight, theirs.resnet.layer4[1].conv3.weight)


def test_copies_and_traces():
    model, x = twins()[0].eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        mask = model(x)[0]
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.jit.trace(model, x)):
            assert relative_error(other(x)[0], mask) < 1e-6
    scripted = torch.jit.script(copy.deepcopy(model.resnet))
    assert torch.equal(scripted(x)[3], model.resnet(x)[3])
    assert not hasattr(model.resnet, 'fc') and not hasattr(res2net_mm.create('res2net50_26w4s', **TINY), 'stem')


@pytest.mark.slow
def test_compile_and_export():
    model, x = twins()[0].eval(), torch.randn(1, 3, 64, 64)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
        for other in (compiled, torch.export.export(model, (x, )).module()):
            assert relative_error(other(x)[0], model(x)[0]) < 1e-5


# In the place of timm's.


@pytest.mark.parametrize('name', slow_except(['res2net50_26w_4s', 'res2net50d', 'res2next50'], 'res2net50d'))
def test_the_same_features_as_timm(name):
    timm = pytest.importorskip('timm')
    theirs = randomise(timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4))).eval()
    ours = res2net_mm.create(name)
    assert ours.training  # as timm's
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 75, 96)
    with torch.no_grad():
        for feature, other in zip(ours.eval()(x), theirs(x), strict=True):
            assert relative_error(feature, other) < 1e-5
    assert list(ours.out_channels) == theirs.feature_info.channels()
    assert list(ours.out_strides) == theirs.feature_info.reduction()


# What is created.


@pytest.mark.parametrize('name', [row.name for row in names.ARCHITECTURES])
def test_every_architecture(name, monkeypatch):
    monkeypatch.setattr(Backbone, 'init_weights', lambda self: None)  # of numbers that are not there
    row = names.resolve(name)
    with torch.device('meta'):
        model, table = res2net_mm.create(name), registry.MODELS.build(row.config)
        created, built = ({key: value.shape for key, value in m.state_dict().items()} for m in (model, table))
        assert created == built
        features = model(torch.rand(2, 3, 96, 96))
    assert len(features) == 4 and isinstance(model.out_channels, tuple) and isinstance(model.out_strides, tuple)
    assert [tuple(f.shape) for f in features] == [
        (2, c, 96 // s, 96 // s) for c, s in zip(model.out_channels, model.out_strides, strict=True)]


def test_some_of_the_stages_and_what_is_before_them():
    model = res2net_mm.create(V1B, out_indices=('stem', 3), **TINY)
    assert [tuple(f.shape) for f in model(torch.rand(2, 3, 64, 64))] == [(2, 16, 32, 32), (2, 512, 2, 2)]
    assert (model.out_channels, model.out_strides) == ((16, 512), (2, 32))
    assert res2net_mm.create('Res2Net-50', out_indices=(2, 1), **TINY).out_strides == (8, 16)


def test_arguments_reach_the_backbone():
    model = res2net_mm.create('res2net50_26w4s', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), norm_eval=True,
                              frozen_stages=1, in_channels=4, scales=3, **TINY)
    assert model.out_strides == (4, 8, 16, 16) and model.layer4[1].convs[0].dilation == (2, 2)
    assert model.training and model.conv1.in_channels == 4 and len(model.layer1[0].convs) == 2
    assert not any(norm.training for norm in model.modules() if isinstance(norm, nn.BatchNorm2d))
    assert not model.layer1[0].conv1.weight.requires_grad and model.layer2[0].conv1.weight.requires_grad


def test_random_weights_are_drawn_as_the_authors_draw_them():
    """Normal, with variance 2 / (out_channels · h · w), and not as nn.Conv2d does."""
    weight = res2net_mm.create('res2net50_26w4s', depth=26).layer4[0].conv1.weight
    assert abs(weight.std().item() / (2 / weight.shape[0])**0.5 - 1) < 0.01
    constant = res2net_mm.create('res2net50_26w4s', init_cfg=dict(type='Constant', val=2, layer='Conv2d'), **TINY)
    assert (constant.conv1.weight == 2).all()


# Weights.


@pytest.mark.parametrize('name, how, file', [
    (V1B, True, f'{V1B}.pth'), ('Res2Net-v1b-50', True, 'Res2Net-v1b-50.pth'), (V1B, 'mine', 'mine.pth'),
    (V1B, 'FOLDER/other.safetensors', 'other.safetensors')])
def test_weights_of_the_users_folder(name, how, file, folder):
    state = randomise(AuthorsEncoder()).state_dict()
    write_checkpoint(state, folder / file)
    how = how.replace('FOLDER', str(folder)) if isinstance(how, str) else how
    model = res2net_mm.create(name, how, **TINY)
    assert torch.equal(model.stem[3].weight, state['conv1.3.weight']) and model.training


def test_pretrained_weights_fit_the_channels_of_the_image(folder):
    state = randomise(AuthorsEncoder()).state_dict()
    torch.save(state, folder / 'rgb.pth')
    grey = res2net_mm.create(V1B, folder / 'rgb.pth', in_channels=1, **TINY)
    assert torch.allclose(grey.stem[0].weight, state['conv1.0.weight'].sum(1, keepdim=True))


def test_the_function_of_the_weights(folder, monkeypatch):
    """By the name of the model, of the weights, or of the file: what they were trained as, unless it is said."""
    add_weights(monkeypatch,
                Weights('other_v1b', V1B, (WeightFile('https://x.org/OtherV1b.pth'), ), '', stage_pool='strided'),
                Weights('detector_v1b', V1B, (), '', stage_pool='strided', config='detector.py'))
    state = res2net_mm.create(V1B, **TINY).state_dict()
    for file in ('other_v1b', 'detector_v1b', 'OtherV1b', 'plain'):
        torch.save(state, folder / f'{file}.pth')
    for model in (res2net_mm.create('other_v1b', **TINY), res2net_mm.create('other_v1b', True, **TINY),
                  res2net_mm.create(V1B, 'other_v1b', **TINY), res2net_mm.create(V1B, 'detector_v1b', **TINY),
                  res2net_mm.create('detector_v1b', True, **TINY),
                  res2net_mm.create(V1B, folder / 'OtherV1b.pth', **TINY),
                  res2net_mm.create('other_v1b', folder / 'plain.pth', **TINY)):
        assert not pools(model) and model.deep_stem
    for model in (res2net_mm.create(V1B, **TINY), res2net_mm.create(V1B, folder / 'plain.pth', **TINY),
                  res2net_mm.create('other_v1b', stage_pool='always', **TINY)):
        assert pools(model)


# Mistakes.


@pytest.mark.parametrize('arguments, error, message', [
    (dict(name='res2net50_26w5s'), ValueError, "called 'res2net50_26w5s'; did you mean res2net50_26w"),
    (dict(name=7), ValueError, "no architecture is called '7'"),
    (dict(name=V1B, scale=4), TypeError, 'Res2Net: no argument scale=4: did you mean scales'),
    (dict(name=V1B, pretrain=True), TypeError, 'create: no argument pretrain=True: did you mean pretrained'),
    (dict(name=V1B, pretraned=True), TypeError, 'create: no argument pretraned=True: did you mean pretrained'),
    (dict(name=V1B, arch='resnet50'), TypeError, "no argument arch='resnet50': the first argument is the architecture"),
    (dict(name=V1B, out_indices=(0, 4)), ValueError, 'out_indices.1.=4 must be an integer from 0 to 3'),
    (dict(name=V1B, pretrained=None), TypeError, 'pretrained=None must be True, False, the name of weights, or'),
    (dict(name=V1B, pretrained=True, init_cfg=None), TypeError, 'pretrained and init_cfg both'),
    (dict(name='res2net50_18w4s', pretrained=True), ValueError, r'18w×4s .*were never published'),
    (dict(name=V1B, pretrained='nothing'), ValueError, 'nothing: no public weights of that name; there are res2net50'),
    (dict(name=V1B, pretrained='nothing.pth'), FileNotFoundError, "checkpoint 'nothing.pth' does not exist"),
    (dict(name=V1B, pretrained='res2net50_26w4s'), ValueError,
     "pretrained='res2net50_26w4s' is of res2net50_26w4s, and 'res2net50_v1b_26w4s' is .*another architecture"),
    (dict(name='dla60', stage_pool='always'), TypeError, "DLA: no argument stage_pool='always'"),
])
def test_mistakes(arguments, error, message, folder):
    with pytest.raises(error, match=message):
        res2net_mm.create(**arguments)


# The page.


@pytest.mark.slow
def test_the_page_says_what_is_so(folder, monkeypatch):
    """Its code runs, and its models, before and after, have the same outputs and gradients."""
    page = (ROOT / 'docs' / 'plain_pytorch.md').read_text(encoding='utf-8')
    blocks = re.findall(r'```python(.*)\n([\s\S]*?)```', page)
    assert [kind.strip() for kind, _ in blocks] == ['', 'before', 'after', 'after', '', '']
    theirs = randomise(AuthorsEncoder((3, 4, 6, 3), 64))
    copied = ModuleType('lib.Res2Net_v1b')
    copied.res2net50_v1b_26w_4s = lambda pretrained: theirs
    monkeypatch.setitem(sys.modules, 'lib', ModuleType('lib'))
    monkeypatch.setitem(sys.modules, 'lib.Res2Net_v1b', copied)
    torch.save(theirs.state_dict(), folder / f'{V1B}.pth')

    scope, models = {}, []
    for kind, code in blocks[:4]:
        with torch.no_grad():  # the first block is only run
            exec(code, scope)
        if kind:
            models.append(scope['Segmentor']())
            models[-1].load_state_dict({**models[-1].state_dict(), **{
                name: value for name, value in models[0].state_dict().items() if not name.startswith('resnet.')}})
    x = torch.rand(2, 3, 64, 64)
    outputs = [model.eval()(x) for model in models]
    for output in outputs:
        output.square().mean().backward()
    assert outputs[0].shape == (2, 1, 64, 64)
    for output, model in zip(outputs[1:], models[1:], strict=True):
        assert relative_error(output, outputs[0]) < 1e-5
        assert relative_error(model.resnet.layer1[0].conv1.weight.grad, theirs.layer1[0].conv1.weight.grad) < 1e-4

    torch.save(models[0].state_dict(), folder / 'Segmentor-19.pth')
    monkeypatch.chdir(folder)
    for _, code in blocks[4:]:
        exec(code, scope)
    assert relative_error(scope['model'].eval()(x), outputs[0]) < 1e-5
    assert torch.equal(scope['encoder'].layer4[0].conv1.weight, theirs.layer4[0].conv1.weight)
