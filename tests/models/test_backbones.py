"""What every registered backbone can do, whatever its trunk."""
import copy
import io
import pickle

import pytest
import torch
from helpers import BACKBONES, build, randomise, relative_error
from torch import nn

from res2net_mm import registry


@pytest.fixture(params=list(BACKBONES))
def config(request):
    return dict(BACKBONES[request.param])


def images(size=64, batch=2):
    return torch.randn(batch, 3, size, size)


def gradients(model, x):
    model.zero_grad()
    sum(out.float().square().mean() for out in model(x)).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_all_registered_backbones_are_here():
    from res2net_mm.models.backbones.base import Backbone
    registered = {name for name, cls in registry.MODELS.module_dict.items() if issubclass(cls, Backbone)}
    assert {config['type'] for config in BACKBONES.values()} == {f'res2net_mm.{name}' for name in registered}


@pytest.mark.parametrize('size', [64, 75])
def test_channels_and_strides(config, size):
    model = build(config)
    outs = model(images(size))
    assert model.out_channels == tuple(out.shape[1] for out in outs)
    assert [tuple(out.shape[2:]) for out in outs] == [(-(-size // t), ) * 2 for t in model.out_strides]
    last = build(config, out_indices=(len(outs) - 1, ))
    assert last.out_channels == model.out_channels[-1:] and len(last(images(size))) == 1


def test_a_single_small_image(config):
    assert all(torch.isfinite(out).all() for out in build(config).eval()(images(33, batch=1)))


def test_every_parameter_is_used(config):
    """So distributed training needs no find_unused_parameters."""
    assert all(grad is not None for grad in gradients(build(config), images()).values())


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2])
def test_frozen_stages(config, frozen_stages):
    model = build(config, frozen_stages=frozen_stages).train()
    modules = model.stem_modules + model.stages[:frozen_stages] if frozen_stages >= 0 else []
    frozen = {name for name, child in model.named_children() if any(child is m for m in modules)}
    assert len(frozen) == len(modules)
    before = copy.deepcopy(model.state_dict())
    grads = gradients(model, images())
    for name, p in model.named_parameters():
        held = name.split('.')[0] in frozen
        assert p.requires_grad != held and (grads[name] is None) == held, name
    for name, child in model.named_children():
        assert child.training == (name not in frozen), name
    for name, value in model.named_buffers():
        assert torch.equal(value, before[name]) == (name.split('.')[0] in frozen), name


def test_train_respects_norm_eval(config):
    model = build(config, norm_eval=True)
    assert model.train() is model and model.training
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert all(p.requires_grad for m in norms for p in m.parameters())
    assert all(m.training for m in build(config).train().modules())


@pytest.mark.slow
def test_checkpointing_gives_the_same_gradients_and_statistics_for_less_memory(config):
    plain, saving = randomise(build(config)).train(), build(config, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    x, grads, stored = images(), {}, {}
    for model in (plain, saving):
        numbers = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, n=numbers: (n.append(t.numel()), t)[1], lambda t: t):
            grads[model] = gradients(model, x)
        stored[model] = sum(numbers)
    for name, grad in grads[plain].items():
        assert torch.equal(grad, grads[saving][name]), name
    for (name, p), q in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(p, q), name
    assert stored[saving] < 0.8 * stored[plain]


@pytest.mark.slow
def test_copies(config):
    model, x = randomise(build(config)).eval(), images()
    expected = model(x)
    saved = io.BytesIO()
    torch.save(model.state_dict(), saved)
    saved.seek(0)
    loaded = build(config).eval()
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert all(torch.equal(a, b) for a, b in zip(expected, other(x), strict=True))


@pytest.mark.slow
def test_export(config):
    model, x = randomise(build(config)).eval(), images()
    exported = torch.export.export(model, (x, )).module()
    with torch.no_grad():
        assert all(relative_error(a, b) < 1e-5 for a, b in zip(exported(x), model(x), strict=True))


@pytest.mark.slow
def test_compile_without_graph_breaks(config):
    model, x = randomise(build(config)).eval(), images()
    torch._dynamo.reset()  # it counts compilations per source line, and all backbones share theirs
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        assert all(relative_error(a, b) < 1e-5 for a, b in zip(compiled(x), model(x), strict=True))


@pytest.mark.slow
def test_bfloat16_autocast(config):
    model, x = randomise(build(config)).train(), images()
    with torch.autocast('cpu', torch.bfloat16):
        grads = gradients(model, x)
    assert all(grad.dtype == torch.float32 and torch.isfinite(grad).all() for grad in grads.values())


def test_channels_last(config):
    model, x = randomise(build(config)).eval(), images()
    with torch.no_grad():
        expected = model(x)
        last = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert all(relative_error(a, b) < 1e-5 for a, b in zip(last, expected, strict=True))
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in last)


def test_other_norms(config):
    model = build(config, norm_cfg=dict(type='GN', num_groups=1))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert all(torch.isfinite(out).all() for out in model(images()))
