"""Checkpoints between libraries: there and back with every tensor, and into the real models."""
import itertools

import pytest
import torch
from helpers import V1B, numbered, on_meta, other_library, small_state

from res2net_mm import Res2Net
from res2net_mm.checkpoints.convert import LAYOUTS, convert, convert_file
from res2net_mm.checkpoints.files import SUFFIXES, read_checkpoint, write_checkpoint
from res2net_mm.checkpoints.layouts import MASKRCNN_STEM, recognise, rename
from res2net_mm.checkpoints.loading import adapt_state_dict
from res2net_mm.cli.convert_checkpoint import main

SMALL = dict(depth=26, base_channels=16)
FC = {'fc.weight': torch.ones(10, 512), 'fc.bias': torch.ones(10)}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize('name, arguments', [
    ('res2net50_26w_4s', {}),
    ('res2net50d', V1B),
    ('res2next50', dict(base_width=4, groups=8)),
    ('resnet50', dict(base_width=64, scales=1)),
    ('resnet50d', dict(base_width=64, scales=1, **V1B)),
    ('resnext50_32x4d', dict(base_width=4, scales=1, groups=32)),
])
def test_timm_there_and_back(name, arguments):
    theirs = other_library('timm', name)
    ours, _ = convert(theirs, 'res2net_mm')
    model = on_meta(Res2Net, **arguments)
    assert ours.keys() - model.state_dict().keys() == {'fc.weight', 'fc.bias'}
    adapt_state_dict(model, dict(theirs))
    assert_same(convert(ours, 'timm')[0], theirs)


@pytest.mark.parametrize('library, name, arguments', [
    ('mmdet', 'Res2Net', V1B),
    ('mmdet', 'ResNet', dict(base_width=64, scales=1)),
    ('mmdet', 'ResNetV1d', dict(base_width=64, scales=1, **V1B)),
    ('mmpretrain', 'Res2Net', V1B),
    ('mmpretrain', 'ResNet', dict(base_width=64, scales=1)),
    ('mmpretrain', 'ResNetV1d', dict(base_width=64, scales=1, **V1B)),
])
def test_openmmlab_there_and_back(library, name, arguments):
    backbone = other_library(library, name)
    model = on_meta(Res2Net, **arguments)
    adapt_state_dict(model, dict(backbone))
    assert_same(convert(convert(backbone, 'res2net_mm')[0], library)[0], backbone)

    whole = {f'backbone.{key}': value for key, value in backbone.items()}
    whole['neck.fpn_convs.0.conv.weight'] = torch.ones(4, 4, 3, 3)
    ours, _ = convert(whole, 'res2net_mm')
    assert ours.keys() == {f'backbone.{key}' for key in model.state_dict()} | {'neck.fpn_convs.0.conv.weight'}
    assert_same(convert(ours, library)[0], whole)


@pytest.mark.parametrize('deep_stem', [False, True])
def test_mmpretrain_classifier_there_and_back(deep_stem):
    models = pytest.importorskip('mmpretrain.models')
    theirs = numbered(models.build_classifier(dict(
        type='ImageClassifier', backbone=dict(type='Res2Net', depth=50, deep_stem=deep_stem, avg_down=deep_stem),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=7, in_channels=2048))).state_dict())
    ours, _ = convert(theirs, 'res2net_mm')
    assert 'fc.weight' in ours and 'layer1.0.conv1.weight' in ours
    assert_same(convert(ours, 'mmpretrain')[0], theirs)
    if deep_stem:
        timms = other_library('timm', 'res2net50d')
        assert convert(theirs, 'timm')[0].keys() == timms.keys() == convert(theirs, 'official')[0].keys()


def test_mmpretrain_squeeze_excitation():
    models = pytest.importorskip('mmpretrain.models')
    theirs = numbered(models.SEResNet(50).state_dict())
    ours, _ = convert(theirs, 'res2net_mm')
    assert ours['layer1.0.se.fc1.weight'] is theirs['layer1.0.se_layer.conv1.conv.weight']
    assert_same(convert(ours, 'mmpretrain')[0], theirs)
    timms, _ = convert(ours, 'timm')
    assert timms.keys() == {key for key in other_library('timm', 'seresnet50') if not key.startswith('fc.')}


def test_dla_there_and_back():
    theirs = other_library('timm', 'dla60_res2next')
    ours, _ = convert(theirs, 'res2net_mm')
    assert_same(convert(ours, 'timm')[0], theirs)

    official, notes = convert(ours, 'official')
    assert 'never uses' in notes[0]
    added = official.keys() - theirs.keys()
    assert sum(official[key].numel() for key in added if 'running' not in key and 'num_batches' not in key) == 297472
    assert_same(convert(convert(official, 'res2net_mm')[0], 'official')[0], official)
    assert_same(convert(official, 'timm')[0], theirs)


class Trunk(torch.nn.Module):
    """A backbone of another shape, without the attributes of Res2Net."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes = shapes

    def state_dict(self):
        return self.shapes


def test_backbones_of_other_shapes():
    theirs = other_library('timm', 'dla60_res2net')
    official, _ = convert(theirs, 'official')
    trunk = Trunk({key: value for key, value in theirs.items() if not key.startswith('fc.')})
    adapt_state_dict(trunk, official)
    assert_same(official, trunk.shapes)
    del official['level5.root.conv.weight']
    with pytest.raises(ValueError, match='does not fit Trunk, nothing was loaded.*1 missing: level5.root'):
        adapt_state_dict(trunk, official)


def test_maskrcnn_benchmark():
    ours = {key: value for key, value in small_state().items() if 'num_batches' not in key}
    theirs = rename(ours, {new: old for old, new in MASKRCNN_STEM.items()})
    layout, renames = recognise(theirs)
    assert layout == 'maskrcnn-benchmark' and 'stem.bn1.bias' in theirs
    assert_same(rename(theirs, renames), ours)
    theirs = {f'module.backbone.body.{key}': value for key, value in theirs.items()}
    theirs['module.rpn.head.conv.weight'] = torch.ones(1)
    model = Res2Net(**SMALL)
    model.load_state_dict({'model': theirs, 'iteration': 90000})
    assert torch.equal(model.conv1.weight, ours['conv1.weight'])


@pytest.mark.parametrize('arguments, to, problem', [
    ({}, 'mmdet', 'only the deep stem'),
    (dict(groups=8, base_width=4, **V1B), 'mmdet', 'no groups'),
    (dict(groups=8, base_width=4), 'mmpretrain', 'no groups'),
])
def test_impossible_conversions(arguments, to, problem):
    with pytest.raises(ValueError, match=problem):
        convert(small_state(**arguments), to)


@pytest.mark.parametrize('to', ['mmdet', 'mmpretrain', 'official'])
def test_squeeze_excitation_has_few_homes(to):
    state = small_state(**V1B)
    state['layer1.0.se.fc1.weight'] = torch.ones(4, 64, 1, 1)
    with pytest.raises(ValueError, match='squeeze-and-excitation'):
        convert(state, to)
    assert 'layer1.0.se.fc1.weight' in convert(state, 'timm')[0]


@pytest.mark.parametrize('to', ['mmdet', 'mmpretrain'])
def test_openmmlab_has_no_dla(to):
    with pytest.raises(ValueError, match='neither DLA'):
        convert(other_library('timm', 'dla60_res2net'), to)


@pytest.mark.parametrize('to', LAYOUTS)
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_files_there_and_back(to, suffix, tmp_path, capsys):
    """Every --to, in both formats, from our own names and back to them."""
    state = {**small_state(**V1B), **({} if to == 'mmdet' else FC)}
    write_checkpoint(state, tmp_path / 'ours.pth')
    main([str(tmp_path / 'ours.pth'), str(tmp_path / f'theirs{suffix}'), '--to', to])
    assert f'in the layout of {to}' in capsys.readouterr().out
    main([str(tmp_path / f'theirs{suffix}'), str(tmp_path / f'again{suffix}'), '--to', 'res2net_mm'])
    if to == 'paddle':  # it counts no batches
        state = {key: value for key, value in state.items() if 'num_batches' not in key}
    assert_same(read_checkpoint(tmp_path / f'again{suffix}'), state)
    if to == 'mmpretrain':
        assert 'backbone.stem.0.conv.weight' in read_checkpoint(tmp_path / f'theirs{suffix}')


def test_whole_model_to_a_library_without_detectors():
    whole = {**{f'backbone.{key}': value for key, value in small_state(**V1B).items()}, 'bbox_head.w': torch.ones(1)}
    theirs, notes = convert(whole, 'timm')
    assert 'conv1.0.weight' in theirs and 'bbox_head.w' not in theirs
    assert notes == ['left out: bbox_head (1), which timm has no place for']
    assert convert({**small_state(**V1B), **FC}, 'mmdet')[1] == [
        'left out: fc.weight, fc.bias; a backbone of mmdet has no classifier']


def test_meta_is_kept(tmp_path):
    state = small_state(**V1B)
    write_checkpoint(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=('cat', )))), tmp_path / 'a.pth')
    convert_file(tmp_path / 'a.pth', tmp_path / 'b.pth', 'mmdet')
    assert read_checkpoint(tmp_path / 'b.pth')['meta'] == dict(dataset_meta=dict(classes=('cat', )))
    assert 'left out' in convert_file(tmp_path / 'a.pth', tmp_path / 'b.safetensors', 'mmdet')


def fails(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in argv])
    assert caught.value.code != 0
    return str(caught.value.code) + capsys.readouterr().err


def test_nothing_is_overwritten_by_accident(tmp_path, capsys):
    a, b = tmp_path / 'a.pth', tmp_path / 'b.pth'
    write_checkpoint(small_state(), a)
    before = a.read_bytes()
    assert 'source itself' in fails(capsys, a, tmp_path / '.' / 'a.pth', '--to', 'timm', '--force')
    b.write_text('precious')
    assert 'exists already' in fails(capsys, a, b, '--to', 'timm')
    assert 'only the deep stem' in fails(capsys, a, b, '--to', 'mmdet', '--force')
    assert 'does not exist' in fails(capsys, a, tmp_path / 'no' / 'b.pth', '--to', 'timm')
    assert 'must end with' in fails(capsys, a, tmp_path / 'b.onnx', '--to', 'timm')
    assert 'does not exist' in fails(capsys, tmp_path / 'c.pth', tmp_path / 'd.pth', '--to', 'timm')
    assert 'no Res2Net' in fails(capsys, write(tmp_path / 'w.pth', {'w': torch.ones(1)}), tmp_path / 'd.pth', '--to',
                                 'timm')
    assert 'give DST' in fails(capsys, a)
    assert 'no other option' in fails(capsys, '--inspect', a, b)
    assert a.read_bytes() == before and b.read_text() == 'precious'
    main([str(a), str(b), '--to', 'timm', '--force'])
    assert len(read_checkpoint(b)) == len(small_state())


def write(path, checkpoint):
    write_checkpoint(checkpoint, path)
    return path


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('interruption', [KeyboardInterrupt, OSError])
def test_interrupted_write_leaves_nothing(suffix, interruption, tmp_path, monkeypatch):
    def half(content, file):
        file.write(b'half')
        raise interruption

    def none(content, metadata):
        raise interruption

    monkeypatch.setattr(torch, 'save', half)
    monkeypatch.setattr('safetensors.torch.save', none)
    with pytest.raises(interruption):
        write_checkpoint({'w': torch.ones(1)}, tmp_path / f'a{suffix}')
    assert not list(tmp_path.iterdir())

    (tmp_path / f'b{suffix}').write_text('precious')
    with pytest.raises(interruption):
        write_checkpoint({'w': torch.ones(1)}, tmp_path / f'b{suffix}', force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ['precious']


def test_every_pair_of_layouts_agrees():
    """From any layout to any other is the same as through ours."""
    state = {**small_state(**V1B), **FC}
    layouts = ['res2net_mm', 'timm', 'official', 'mmpretrain']  # Paddle's has fewer weights
    stored = {layout: convert(state, layout)[0] for layout in layouts}
    for a, b in itertools.product(layouts, layouts):
        assert_same(convert(stored[a], b)[0], stored[b])
