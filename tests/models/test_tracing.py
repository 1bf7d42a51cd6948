"""torch.jit.script, torch.jit.trace and torch.export of every trunk: the same function, names and order of weights."""
import copy
import io
import pickle

import pytest
import torch
from helpers import BACKBONES, SMALL, V1B, VARIANTS, build, randomise, relative_error, slow_except
from mmengine.registry import MODELS
from torch import nn

from res2net_mm import Res2Net

SCRIPTED = {
    **BACKBONES,
    **{name: VARIANTS[name] for name in ('caffe, multi-grid', 'stem', 'no norms that fold', 'shared head')},
    'v1b, grouped SE': dict(SMALL, **V1B, groups=2, se_reduction=16),
    'frozen': dict(SMALL, frozen_stages=2, norm_eval=True),
}


def images(config, size=75):
    return torch.randn(2, 1024, 7, 7) if 'SharedHead' in config['type'] else torch.randn(2, 3, size, size)


def maps(outs):
    return (outs, ) if isinstance(outs, torch.Tensor) else outs


def step(model, x):
    """The outputs, gradients and running statistics of a step."""
    outs = maps(model(x))
    sum(out.square().mean() for out in outs).backward()
    return outs, {name: p.grad for name, p in model.named_parameters()}, dict(model.named_buffers())


@pytest.mark.parametrize('mode', [True, False])
@pytest.mark.parametrize('name', slow_except(SCRIPTED, 'v1'))
def test_a_scripted_model_takes_the_same_step(name, mode):
    model = randomise(build(SCRIPTED[name])).double().train(mode)
    x, plain = images(SCRIPTED[name]).double(), copy.deepcopy(model)
    scripted = torch.jit.script(copy.deepcopy(model))
    assert list(scripted.state_dict()) == list(plain.state_dict()) and scripted.training == mode
    (outs, grads, buffers), (wanted, wanted_grads, wanted_buffers) = step(scripted, x), step(plain, x)
    assert all(relative_error(a, b) < 1e-12 for a, b in zip(outs, wanted, strict=True))
    for key, grad in wanted_grads.items():
        assert (grad is None) == (grads[key] is None), key
        assert grad is None or relative_error(grads[key], grad) < 1e-10 or grad.norm() < 1e-12, key
    assert all(torch.equal(buffers[key], buffer) for key, buffer in wanted_buffers.items())


def test_scripting_leaves_the_model_as_it_is():
    model = randomise(Res2Net(depth=26, base_channels=16)).eval()
    modules, state, x = dict(model.named_modules()), copy.deepcopy(model.state_dict()), images(SMALL)
    expected = model(x)
    scripted = torch.jit.script(model)
    assert {name: id(module) for name, module in model.named_modules()} == {
        name: id(module) for name, module in modules.items()}
    assert type(model) is Res2Net and all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(model(x), expected, strict=True))
    assert scripted.conv1.weight.data_ptr() == model.conv1.weight.data_ptr()  # as everywhere in TorchScript


def test_a_checkpointed_model_is_scripted_without():
    model = randomise(build(SMALL, with_cp=True)).double().train()
    plain, x = build(SMALL).double().train(), images(SMALL).double()
    plain.load_state_dict(model.state_dict())
    outs, grads, buffers = step(torch.jit.script(model), x)
    wanted, wanted_grads, wanted_buffers = step(plain, x)
    assert all(torch.equal(a, b) for a, b in zip(outs, wanted, strict=True))
    assert all(relative_error(grads[key], grad) < 1e-10 for key, grad in wanted_grads.items())
    assert all(torch.equal(buffers[key], buffer) for key, buffer in wanted_buffers.items())
    assert all(block.with_cp for block in model.layer1)


def test_a_scripted_model_is_saved():
    model, file = randomise(build(SMALL)).eval(), io.BytesIO()
    torch.jit.save(torch.jit.script(model), file)
    file.seek(0)
    x = images(SMALL)
    assert all(torch.equal(a, b) for a, b in zip(torch.jit.load(file)(x), model(x), strict=True))


class Model(nn.Module):
    """A model with a backbone inside."""

    def __init__(self, **arguments):
        super().__init__()
        self.backbone = randomise(build(SMALL, **arguments))
        self.head = nn.Linear(512, 3)

    def forward(self, x):
        return self.head(self.backbone(x)[-1].mean((2, 3)))


def test_a_model_with_a_backbone():
    """PyTorch puts the graph into the place of the backbone and leaves it there: it goes on as the backbone would."""
    model, x = Model(frozen_stages=1, norm_eval=True, with_cp=True).train(), images(SMALL)
    plain, backbone = copy.deepcopy(model), model.backbone
    scripted = torch.jit.script(model)
    assert list(scripted.state_dict()) == list(plain.state_dict()) == list(model.state_dict())
    assert torch.equal(scripted(x), plain(x)) and torch.equal(model(x), plain(x))
    assert model.backbone.out_channels == backbone.out_channels
    model.eval()
    assert not any(module.training for module in backbone.modules())
    model.train()
    assert [m.training for m in backbone.modules()] == [m.training for m in plain.backbone.modules()]
    assert backbone.layer2.training and not backbone.layer1.training and not backbone.layer2[0].bn1.training
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model.backbone))):
        copied = getattr(copied, 'backbone', copied)
        assert type(copied) is Res2Net and copied.layer2[0].conv1 is not backbone.layer2[0].conv1
    assert torch.equal(torch.jit.script(model)(x), plain(x))  # a second time
    other = Model(frozen_stages=1, norm_eval=True)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model(x), other.train()(x)) and torch.equal(scripted(x), other(x))


def test_a_backbone_in_a_model_refuses_a_part_of_its_weights():
    model = nn.Sequential(build(SMALL))
    state = dict(model.state_dict())
    torch.jit.script(model)
    del state['0.layer1.0.conv1.weight']
    with pytest.raises(ValueError, match='layer1.0.conv1.weight'):
        model.load_state_dict(state, strict=False)


def test_what_is_asked_of_a_backbone_in_a_scripted_model():
    model, x, called = nn.Sequential(build(SMALL)), images(SMALL), []
    backbone = model[0]
    state = dict(backbone.state_dict())
    torch.jit.script(model)
    handle = model[0].register_forward_hook(lambda *args: called.append(args[0]))
    model(x)
    handle.remove()
    model(x)
    assert called == [backbone] and torch.jit.script(model) is not None
    before = state.pop('layer1.0.conv1.weight').clone()
    assert model[0].load_state_dict(state, strict=False).missing_keys == ['layer1.0.conv1.weight']
    model[0].init_weights()
    assert not torch.equal(backbone.layer1[0].conv1.weight, before)


def test_two_models_of_the_same_layers_do_not_share_a_function():
    two, four, x = build(SMALL, out_indices=(1, 3)), build(SMALL), images(SMALL, 64)
    assert [len(torch.jit.script(model)(x)) for model in (two, four)] == [2, 4]


@pytest.mark.parametrize('place', ['', 'layer2', 'layer2.0'])
@pytest.mark.parametrize('register', ['register_forward_hook', 'register_forward_pre_hook'])
def test_a_hook_that_would_be_left_out(place, register):
    model = build(SMALL)
    getattr(model.get_submodule(place), register)(lambda *args: None)
    with pytest.raises(RuntimeError, match=f'{place or "Res2Net"} has hooks'):
        torch.jit.script(model)


def test_plugins_that_can_be_scripted(monkeypatch):

    class Doubled(nn.Module):
        def __init__(self, in_channels):
            super().__init__()
            self.weight = nn.Parameter(torch.full((in_channels, 1, 1), 2.))

        def forward(self, x):
            return x * self.weight

    monkeypatch.setitem(MODELS.module_dict, 'Doubled', Doubled)
    plugins = [dict(cfg=dict(type='Doubled'), position=f'after_conv{i}', postfix=f'_{i}') for i in (1, 2, 3)]
    model, x = randomise(build(SMALL, plugins=plugins)).eval(), images(SMALL)
    scripted = torch.jit.script(model)
    assert list(scripted.state_dict()) == list(model.state_dict())
    assert all(relative_error(a, b) < 1e-6 for a, b in zip(scripted(x), model(x), strict=True))


def test_a_layer_that_cannot_be_scripted_is_named():
    model = build(VARIANTS['plugins'])
    with pytest.raises(RuntimeError, match='ContextBlock.spatial_pool'):
        torch.jit.script(model)


@pytest.mark.parametrize('name', slow_except(SCRIPTED, 'v1'))
def test_a_traced_model(name):
    """PyTorch's own check runs the model a second time."""
    model, x = randomise(build(SCRIPTED[name])).eval(), images(SCRIPTED[name], 64)
    traced = torch.jit.trace(model, x, check_trace=True)
    assert all(relative_error(a, b) < 1e-6 for a, b in zip(maps(traced(x)), maps(model(x)), strict=True))


@pytest.mark.parametrize('export', ['trace', 'export'])
def test_a_checkpointed_model_without_gradients(export):
    """With gradients it is the block's own business."""
    model, x = randomise(build(SMALL, with_cp=True)).eval(), images(SMALL, 64)
    with torch.no_grad():
        exports = dict(trace=torch.jit.trace, export=lambda *arguments: torch.export.export(*arguments).module())
        exported = exports[export](model, (x, ))
        assert all(relative_error(a, b) < 1e-5 for a, b in zip(exported(x), model(x), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in SCRIPTED if name not in BACKBONES])
def test_an_exported_model(name):
    """Those of BACKBONES are in test_backbones.py."""
    model, x = randomise(build(SCRIPTED[name])).eval(), images(SCRIPTED[name], 64)
    exported = torch.export.export(model, (x, )).module()
    with torch.no_grad():
        assert all(relative_error(a, b) < 1e-5 for a, b in zip(maps(exported(x)), maps(model(x)), strict=True))


class ChangesInPlace(Res2Net):
    """A subclass whose ``+=`` changes a tensor that has another name, which torch.fx's own tracer does not see."""

    def after_stem(self, x):
        x = super().after_stem(x)
        kept = x
        x += 1
        return kept


def test_operators_in_place():
    model = randomise(ChangesInPlace(depth=26, base_channels=16)).eval()
    x = images(SMALL)
    with torch.no_grad():
        outs, wanted = torch.jit.script(copy.deepcopy(model))(x), model(x)
    assert all(relative_error(out, want) < 1e-6 for out, want in zip(outs, wanted, strict=True))
