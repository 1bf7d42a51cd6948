"""Weights load whole, from every key layout, or not at all."""
import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint, load_state_dict

from res2net_mm import Res2Net

SMALL = dict(depth=26, base_channels=16)
OFFICIAL_STEM = {0: 'conv1.0', 1: 'conv1.1', 3: 'conv1.3', 4: 'conv1.4', 6: 'conv1.6', 7: 'bn1'}
MMPRETRAIN_STEM = {0: 'stem.0.conv', 1: 'stem.0.bn', 3: 'stem.1.conv', 4: 'stem.1.bn', 6: 'stem.2.conv', 7: 'stem.2.bn'}


def with_stem(state, names):
    """A v1b state dict with the stem's layers called by other names."""
    return {
        (f'{names[int(key.split(".")[1])]}.{key.split(".")[2]}' if key.startswith('stem.') else key): value
        for key, value in state.items()
    }


def random_state(**arguments):
    state = Res2Net(**SMALL, **arguments).state_dict()
    return {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in state.items()}


@pytest.mark.parametrize('layout', ['own', 'official', 'mmpretrain', 'classifier', 'wrapped', 'whole model', 'frozen'])
@pytest.mark.parametrize('deep_stem', [False, True])
@pytest.mark.parametrize('pretrained', [True, False], ids=['init_cfg', 'load_checkpoint'])
def test_layouts(layout, deep_stem, pretrained, tmp_path):
    arguments = dict(deep_stem=deep_stem, avg_down=deep_stem)
    state = random_state(**arguments)
    stored = dict(state)
    if deep_stem and layout in ('official', 'mmpretrain'):
        stored = with_stem(state, OFFICIAL_STEM if layout == 'official' else MMPRETRAIN_STEM)
    if layout == 'classifier':
        stored = {**state, 'fc.weight': torch.ones(10, 512), 'fc.bias': torch.ones(10)}
    if layout == 'whole model':
        stored = {**{f'backbone.{k}': v for k, v in state.items()}, 'head.fc.weight': torch.ones(10, 512)}
    if layout == 'frozen':
        stored = {k: v for k, v in state.items() if 'num_batches' not in k}
    if layout == 'wrapped':
        stored = {'state_dict': {f'module.{k}': v for k, v in state.items()}, 'meta': {}}
    path = str(tmp_path / 'weights.pth')
    torch.save(stored, path)

    if pretrained:
        model = MODELS.build(dict(type='res2net_mm.Res2Net', **SMALL, **arguments,
                                  init_cfg=dict(type='Pretrained', checkpoint=path)))
        model.init_weights()
    else:
        model = Res2Net(**SMALL, **arguments)
        load_checkpoint(model, path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]) or key.endswith('num_batches_tracked'), key


def broken(state, how):
    if how == 'missing':
        del state['layer3.1.convs.2.weight']
    elif how == 'left over':
        state['layer3.7.conv1.weight'] = torch.ones(1)
    else:
        state['layer3.1.convs.2.weight'] = torch.ones(1, 1, 3, 3)
    return state


@pytest.mark.parametrize('how', ['missing', 'left over', 'of another shape'])
def test_partial_weights_are_an_error(how, tmp_path):
    path = str(tmp_path / 'weights.pth')
    torch.save(broken(random_state(), how), path)
    model = Res2Net(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=path))
    with pytest.raises(ValueError, match=f'Res2Net-26 26w4s .*1 {how}: layer3'):
        model.init_weights()


def test_another_architecture_is_an_error(tmp_path):
    torch.save(random_state(deep_stem=True, avg_down=True), tmp_path / 'v1b.pth')
    model = Res2Net(**SMALL)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match='7x7 stem.*missing: conv1.weight.*left over: stem.0.weight'):
        load_checkpoint(model, str(tmp_path / 'v1b.pth'))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_backbone_weights_into_a_whole_model_are_an_error():
    """The classic: an ImageNet checkpoint given as load_from, of which mmengine would load nothing and only warn."""
    whole = torch.nn.ModuleDict({'backbone': Res2Net(**SMALL)})
    with pytest.raises(ValueError, match="starts with 'backbone.'.*init_cfg"):
        whole.load_state_dict(random_state(), strict=False)


def test_stages_that_are_not_built_may_be_left_over():
    model = Res2Net(**SMALL, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2, ))
    state = random_state()
    model.load_state_dict(state)
    assert torch.equal(model.layer3[0].conv1.weight, state['layer3.0.conv1.weight'])


def test_load_state_dict_on_the_backbone_itself_does_what_pytorch_says():
    """What fits is loaded under our names, and the rest is returned; strictly, it is an error."""
    arguments = dict(deep_stem=True, avg_down=True)
    state = random_state(**arguments)
    stored = with_stem(state, OFFICIAL_STEM)
    del stored['layer3.1.convs.2.weight']
    stored.update({'fc.weight': torch.ones(10, 512), 'layer9.weight': torch.ones(1)})
    model = Res2Net(**SMALL, **arguments)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for attempt in (dict(), dict(strict=True)):
        with pytest.raises(ValueError, match='1 missing: layer3.1.convs.2.weight; 1 left over: layer9.weight'):
            model.load_state_dict(stored, **attempt)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    keys = model.load_state_dict(stored, strict=False)
    assert keys.missing_keys == ['layer3.1.convs.2.weight']
    assert sorted(keys.unexpected_keys) == ['fc.weight', 'layer9.weight']
    for key, value in model.state_dict().items():
        expected = before if key == 'layer3.1.convs.2.weight' else state
        assert torch.equal(value, expected[key]), key
    assert 'conv1.0.weight' in stored and 'stem.0.weight' not in stored  # the caller's dictionary is left alone
    with pytest.raises(ValueError, match='1 missing'):  # as before: nothing is remembered
        model.load_state_dict(stored)


def test_what_pytorch_does_not_allow():
    """A shape that differs is an error with strict=False too; a whole checkpoint leaves its other parts over."""
    model, state = Res2Net(**SMALL), random_state()
    with pytest.raises(RuntimeError, match='size mismatch for layer3.1.convs.2.weight'):
        model.load_state_dict(broken(dict(state), 'of another shape'), strict=False)
    keys = model.load_state_dict({**{f'backbone.{key}': value for key, value in state.items()},
                                  'neck.weight': torch.ones(1)}, strict=False)
    assert keys.missing_keys == [] and keys.unexpected_keys == ['neck.weight']
    assert torch.equal(model.conv1.weight, state['conv1.weight'])
    keys = model.load_state_dict({}, strict=False)
    assert len([key for key in keys.missing_keys if key.endswith('conv3.weight')]) == 8


@pytest.mark.parametrize('load', [
    lambda whole, state: whole.load_state_dict(state, strict=False),
    lambda whole, state: load_state_dict(whole, state, strict=False),
    lambda whole, state: load_state_dict(whole['backbone'], {k.partition('.')[2]: v for k, v in state.items()}),
], ids=['PyTorch', 'mmengine', 'mmengine, the backbone alone'])
@pytest.mark.parametrize('how', ['missing', 'left over', 'of another shape'])
def test_within_a_model_nothing_is_loaded_by_half(load, how):
    whole = torch.nn.ModuleDict({'backbone': Res2Net(**SMALL)})
    state = {f'backbone.{key}': value for key, value in broken(random_state(), how).items()}
    with pytest.raises(ValueError, match=f'1 {how}: layer3'):
        load(whole, state)
