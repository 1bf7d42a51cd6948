"""FusedConv wherever a model may go: copies, other types, exporters."""
import copy

import pytest
import torch
from helpers import VARIANTS, assert_same_function, random_model, relative_error

from res2net_mm.acceleration.backends import accelerate


def test_a_copy_of_a_used_one():
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain), torch.randn(1, 3, 64, 64)
    assert_same_function(fast, plain, x)
    assert_same_function(copy.deepcopy(fast), plain, x)
    with torch.no_grad():
        half = copy.deepcopy(fast).bfloat16()(x.bfloat16())
    assert half[-1].dtype == torch.bfloat16 and relative_error(half[-1].float(), fast(x)[-1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize('export', ['compile', 'jit', 'onnx'])
def test_it_can_be_compiled_and_exported(export, tmp_path):
    plain = random_model(VARIANTS['v1'])
    fast, x = accelerate(plain), torch.randn(1, 3, 64, 64)
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
