"""What only a GPU can show; skipped where there is none. `tools/gpu_check.sh` runs these."""
import copy

import pytest
import torch
from helpers import randomise, relative_error
from mmengine.registry import HOOKS, MODELS, init_default_scope

from res2net_mm import Res2Net, load_config
from res2net_mm.acceleration.backends import accelerate

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')]
VARIANTS = {
    'v1': {},
    'v1b': dict(arch='res2net50_v1b_26w4s'),
    '14w8s dilated': dict(arch='res2net50_14w8s', strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    'Res2NeXt': dict(arch='res2next50_8c4w4s'),
    'SE': dict(arch='se_res2net50_26w4s'),
    'strided': dict(stage_pool='strided', strides=(1, 1, 2, 1)),
    'strided, hierarchical': dict(stage_pool='strided_hierarchical', strides=(1, 1, 2, 1)),
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


class TestTriton:
    """``accelerate(model, 'triton')``; only in bfloat16 tiles are tried out, which takes a minute."""

    @pytest.fixture(autouse=True)
    def tiles(self, request, monkeypatch):
        pytest.importorskip('triton')
        from res2net_mm.acceleration.triton.kernel import CONFIGS, tuned_kernel
        if 'bfloat16' not in request.node.name:
            monkeypatch.setattr(tuned_kernel, 'configs', CONFIGS[:1])

    @pytest.mark.parametrize('variant', [name for name in VARIANTS if name != 'strided'])
    def test_the_same_function(self, variant):
        _, plain = pair(**VARIANTS[variant])
        fast = accelerate(plain, 'triton')
        for size in ((2, 3, 97, 128), (1, 3, 64, 64)):
            x = torch.randn(size, device='cuda')
            with torch.no_grad():
                for _ in range(3):  # launch by launch; captured and replayed; replayed
                    for ours, theirs in zip(fast(x), plain(x)):
                        assert relative_error(ours, theirs) < 1e-4 and ours.is_contiguous()
        assert len(fast.runner.graphs) == 2

    @pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
    def test_as_exact_as_pytorch(self, dtype):
        _, plain = pair(depth=26)
        dtype = getattr(torch, dtype)
        x = torch.randn(4, 3, 96, 96, device='cuda').contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            exact, theirs = plain(x), copy.deepcopy(plain).to(dtype)(x.to(dtype))
            ours = accelerate(plain, 'triton', check=False).to(dtype)(x.to(dtype))
        for out, other, wanted in zip(ours, theirs, exact):
            assert out.dtype == dtype and out.is_contiguous(memory_format=torch.channels_last)
            assert relative_error(out.float(), wanted) < 1.2 * relative_error(other.float(), wanted)

    def test_outputs_are_not_overwritten(self):
        fast = accelerate(pair(depth=26)[1], 'triton')
        inputs = [torch.randn(1, 3, size, 64, device='cuda') for size in (64, 96) for _ in range(3)]
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs for _ in range(2)]
        outs = [fast(x)[0] for x in inputs]
        kept = [out.clone() for out in outs]
        again = [fast(x)[0] for x in reversed(inputs)][::-1]
        assert len(fast.runner.graphs) == 2
        assert all(torch.equal(out, copied) for out, copied in zip(outs, kept))
        assert all(relative_error(out, copied) < 1e-5 for out, copied in zip(again, kept))

    def test_sizes_that_change(self):
        """No more graphs than 8, none for a size that came once; a moved or copied module starts anew."""
        _, plain = pair(depth=26)
        fast = accelerate(plain, 'triton')
        sizes = [32 * i for i in range(1, 12)]
        with torch.no_grad():
            for size in [*sizes, *sizes, *sizes, 1000]:
                x = torch.randn(1, 3, size, 64, device='cuda')
                assert relative_error(fast(x)[-1], plain(x)[-1]) < 1e-4
            assert len(fast.runner.graphs) == 8
            other = copy.deepcopy(fast)
            assert not other.runner.graphs and relative_error(other(x)[-1], plain(x)[-1]) < 1e-4
            assert relative_error(fast.double().float()(x)[-1], plain(x)[-1]) < 1e-4 and not fast.runner.graphs

    def test_inside_another_graph(self):
        _, plain = pair(depth=26)
        fast, x = accelerate(plain, 'triton'), torch.randn(2, 3, 64, 64, device='cuda')
        fast(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outs = fast(x)
        x.copy_(torch.randn_like(x))
        graph.replay()
        with torch.no_grad():
            assert relative_error(outs[-1], plain(x)[-1]) < 1e-4 and not fast.runner.graphs

    def test_no_images(self):
        fast = accelerate(pair(depth=26)[1], 'triton')
        assert [len(out) for out in fast(torch.zeros(0, 3, 64, 64, device='cuda'))] == [0] * 4
