"""What only a GPU can show; skipped where there is none. `tools/gpu_check.sh` runs these."""
import copy

import pytest
import torch
from conftest import randomise, relative_error
from mmengine.registry import HOOKS, MODELS, init_default_scope

from res2net_mm import Res2Net, load_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
VARIANTS = {
    'v1': {},
    'v1b': dict(arch='res2net50_v1b_26w4s'),
    '14w8s dilated': dict(arch='res2net50_14w8s', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    'Res2NeXt': dict(arch='res2next50_8c4w4s'),
    'SE': dict(arch='se_res2net50_26w4s'),
    'strided': dict(stage_pool='strided', strides=(1, 1, 2, 1)),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def pair(**arguments):
    """The same model in eval mode on both devices."""
    model = randomise(Res2Net(**arguments)).eval()
    return model, copy.deepcopy(model).cuda()


@pytest.mark.parametrize('variant', VARIANTS)
def test_the_gpu_computes_what_the_cpu_does(variant):
    cpu, gpu = pair(**VARIANTS[variant])
    x = torch.randn(2, 3, 97, 128)
    outs = cpu(x), gpu(x.cuda())
    for ours, theirs in zip(*outs):
        assert relative_error(theirs.cpu(), ours) < 1e-4
    for out in outs:
        out[-1].square().mean().backward()
    gradients = [dict(model.named_parameters())['layer3.1.convs.1.weight'].grad.cpu() for model in (cpu, gpu)]
    assert relative_error(gradients[1], gradients[0]) < 1e-3


@pytest.mark.parametrize('change', ['channels_last', 'compile', 'with_cp'])
def test_other_ways_of_computing_it(change):
    _, plain = pair(depth=26)
    x = torch.randn(2, 3, 96, 96, device='cuda')
    other = copy.deepcopy(plain)
    if change == 'channels_last':
        other, inputs = other.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    elif change == 'compile':
        torch._dynamo.reset()
        other, inputs = torch.compile(other), x
    else:
        other, inputs = Res2Net(depth=26, with_cp=True).cuda().eval(), x
        other.load_state_dict(plain.state_dict())
    for ours, theirs in zip(other(inputs), plain(x)):
        assert relative_error(ours, theirs) < 1e-3


def test_bfloat16_and_float16_autocast():
    _, model = pair(depth=26)
    x = torch.randn(2, 3, 96, 96, device='cuda')
    exact = model(x)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast('cuda', dtype=dtype):
            outs = model(x)
        assert all(relative_error(out.float(), want) < 0.1 for out, want in zip(outs, exact))


def test_deformable_convolutions():
    model = Res2Net(depth=26, dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, True, True, True)).cuda()
    model(torch.randn(2, 3, 64, 64, device='cuda'))[-1].mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize('precision', ['float32', 'float16', 'bfloat16'])
def test_a_detector_learns(precision):
    testing = pytest.importorskip('mmdet.testing')
    from mmengine.optim import build_optim_wrapper
    cfg = load_config('res2net_mm::demo_faster_rcnn_r2n26_shapes.py')
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model).cuda().train()
    if precision == 'bfloat16':
        from types import SimpleNamespace
        HOOKS.build(dict(type='res2net_mm.BFloat16Features')).before_train(SimpleNamespace(model=model))
    wrapper = 'AmpOptimWrapper' if precision == 'float16' else 'OptimWrapper'
    optim_wrapper = build_optim_wrapper(model, dict(type=wrapper, optimizer=dict(type='AdamW', lr=1e-3)))
    packed = testing.demo_mm_inputs(2, [[3, 128, 128], [3, 128, 128]], num_items=[2, 1], num_classes=4)
    losses = [float(model.train_step(copy.deepcopy(packed), optim_wrapper)['loss']) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
