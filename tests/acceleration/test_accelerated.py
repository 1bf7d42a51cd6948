"""An accelerated backbone answers what toolboxes ask, and goes where models go: pickles, processes, exporters."""
import copy
import io
import pickle

import pytest
import torch
from helpers import VARIANTS, assert_same_function, has_compiler, random_model, relative_error
from torch import nn

from res2net_mm.acceleration.backends import accelerate

BACKENDS = ['pytorch', 'native', 'onnxruntime', 'openvino']


def accelerated(backend, name='v1'):
    if backend not in ('pytorch', 'native'):
        pytest.importorskip(backend)
    if backend == 'native' and not has_compiler:
        pytest.skip('there is no C++ compiler')
    plain = random_model(VARIANTS[name])
    return plain, accelerate(plain, backend)


def by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {'pickle': lambda model: pickle.loads(pickle.dumps(model)), 'torch.save': by_torch_save,
          'deepcopy': copy.deepcopy}


@pytest.mark.parametrize('how', COPIES)
@pytest.mark.parametrize('called', [False, True])
@pytest.mark.parametrize('backend', [pytest.param(name, marks=[] if name == 'pytorch' else pytest.mark.slow)
                                     for name in BACKENDS])
def test_copies(backend, called, how):
    plain, fast = accelerated(backend)
    x = torch.randn(1, 3, 64, 64)
    if called:
        for _ in range(3):  # the libraries prepare for a size that comes again
            assert_same_function(fast, plain, x)
    copied = COPIES[how](fast)
    assert_same_function(copied, plain, x)
    assert copied.out_channels == plain.out_channels and copied.report == fast.report
    assert_same_function(fast, plain, x)
    assert_same_function(COPIES[how](copied), plain, x)


def test_a_copy_with_layers_of_a_toolbox():
    plain, fast = accelerated('pytorch', 'plugins')
    assert_same_function(pickle.loads(pickle.dumps(fast)), plain, torch.randn(1, 3, 64, 64))


def run_in_process(fast, x, queue):
    with torch.no_grad():
        queue.put([out.numpy() for out in fast(x)])


@pytest.mark.slow
@pytest.mark.parametrize('backend', BACKENDS)
def test_spawned_processes(backend):
    plain, fast = accelerated(backend)
    x, context = torch.randn(1, 3, 64, 64), torch.multiprocessing.get_context('spawn')
    queue = context.Queue()
    process = context.Process(target=run_in_process, args=(fast, x, queue))
    process.start()
    outs = queue.get(timeout=120)
    process.join()
    with torch.no_grad():
        assert all(relative_error(torch.from_numpy(out), want) < 1e-5
                   for out, want in zip(outs, plain(x), strict=True))


@pytest.mark.parametrize('name', ['v1', 'v1b', 'DLA', 'Big-Little', 'CIFAR', 'stem', 'shared head'])
def test_attributes(name):
    plain, fast = accelerated('pytorch', name)
    asked = ['out_channels', 'norm_eval', 'variant']
    if name != 'shared head':
        asked += ['out_strides', 'out_indices', 'num_stages', 'stage_channels', 'stage_strides', 'frozen_stages']
        assert len(fast.stages) == len(plain.stages) == plain.num_stages
    for attribute in asked:
        assert getattr(fast, attribute) == getattr(plain, attribute)
    assert not fast.training and not hasattr(fast, 'weight') and not hasattr(fast, 'forward_stem')


def test_stages_of_a_library():
    _, fast = accelerated('onnxruntime')
    assert fast.out_strides == (4, 8, 16, 32) and not hasattr(fast, 'stages')


def test_a_copy_in_bfloat16():
    plain, fast = accelerated('pytorch')
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = fast(x)
        half = copy.deepcopy(fast).bfloat16()(x.bfloat16())
    assert half[-1].dtype == torch.bfloat16 and relative_error(half[-1].float(), wanted[-1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize('export', ['compile', 'jit', 'onnx'])
def test_it_can_be_compiled_and_exported(export, tmp_path):
    plain, fast = accelerated('pytorch')
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        if export == 'compile':
            torch._dynamo.reset()
            exported = torch.compile(fast, fullgraph=True, backend='aot_eager')
        elif export == 'jit':
            exported = torch.jit.trace(fast, x)
        else:
            runtime = pytest.importorskip('onnxruntime')
            path = str(tmp_path / 'fast.onnx')
            torch.onnx.export(fast, (x, ), path, dynamo=False)
            session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
            name = session.get_inputs()[0].name
            exported = lambda x: [torch.from_numpy(out) for out in session.run(None, {name: x.numpy()})]  # noqa: E731
        assert_same_function(exported, plain, x)


@pytest.mark.parametrize('grad', [False, True])
def test_autocast_gives_the_types_of_the_plain_model(grad):
    plain, fast = accelerated('pytorch')
    x = torch.randn(1, 3, 64, 64)
    with torch.set_grad_enabled(grad), torch.autocast('cpu', torch.bfloat16):
        outs, wanted = fast(x), plain(x)
    assert [out.dtype for out in outs] == [want.dtype for want in wanted] == [torch.bfloat16] * 4
    assert all(relative_error(out.float(), want.float()) < 0.05 for out, want in zip(outs, wanted))


def test_inside_a_module_that_is_moved():
    plain, fast = accelerated('pytorch')
    whole = nn.Sequential(fast).double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    assert_same_function(whole, plain.double(), x, 1e-6)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('where', ['weight', 'image'])
def test_what_is_not_a_number_stays_so(where, value):
    """oneDNN's ReLU and other libraries would make zeros of it, and a prediction of a broken model or image."""
    plain, x = random_model(VARIANTS['v1']), torch.randn(1, 3, 64, 64)
    if where == 'image':
        x[0, 1, 20, 20] = value
    else:
        plain.layer2[0].conv1.weight.data[0, 0] = value
    fast = accelerate(plain)
    with torch.no_grad():
        outs, wanted = fast(x), plain(x)
    assert not all(want.isfinite().all() for want in wanted)
    for out, want in zip(outs, wanted, strict=True):
        assert torch.equal(out.isnan(), want.isnan()) and torch.equal(out.isinf(), want.isinf())
