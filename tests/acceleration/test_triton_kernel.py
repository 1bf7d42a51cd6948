"""The kernel without a GPU: compiled for Hopper, with tiles for every size."""
import itertools

import pytest
import torch

triton = pytest.importorskip('triton')


@pytest.mark.slow
@pytest.mark.parametrize('kernel, in_channels, out_channels, sum_and_shortcut', [
    (3, 32, 32, (True, False)), (3, 208, 208, (True, False)), (1, 416, 1024, (False, True))])
def test_compiles_for_hopper(kernel, in_channels, out_channels, sum_and_shortcut, tmp_path, monkeypatch):
    """With Hopper's matrix instructions, 16 bytes a load, and all tiles in shared memory."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from res2net_mm.acceleration.triton.kernel import CONFIGS, SIZES, conv_kernel, prune_tiles
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    names = conv_kernel.arg_names
    layer = dict(x_step=in_channels, x2_step=4 * in_channels, addend_step=out_channels, out_step=out_channels,
                 in_channels=in_channels, out_channels=out_channels, kernel=kernel, stride=1, padding=kernel // 2,
                 dilation=1, relu=True)
    absent = {name: None for name, there in zip(('x2', 'addend'), sum_and_shortcut) if not there}
    types = {name: '*bf16' for name in ('x', 'x2', 'weight', 'bias', 'addend', 'out') if name not in absent}
    aligned = {(names.index(name), ): [['tt.divisibility', 16]] for name in types}
    types.update(dict.fromkeys(SIZES, 'i32'))
    configs = prune_tiles(CONFIGS, dict(size=16, x=torch.zeros(0, dtype=torch.bfloat16)), **layer)
    for config in configs[::3]:
        constants = {**layer, **absent, **config.kwargs}
        source = ASTSource(conv_kernel, {name: types.get(name, 'constexpr') for name in names},
                           {(names.index(name), ): value for name, value in constants.items()}, aligned)
        compiled = triton.compile(source, target=GPUTarget('cuda', 90, 32),
                                  options=dict(num_warps=config.num_warps, num_stages=config.num_stages))
        ptx = compiled.asm['ptx']
        assert ('wgmma.mma_async' if config.kwargs['block_m'] >= 64 else 'mma.sync') in ptx
        assert 'cp.async.ca' not in ptx and 'st.global.v4' in ptx
        assert compiled.metadata.shared <= 227 * 1024


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_there_are_tiles_for_every_size(dtype):
    from res2net_mm.acceleration.triton.kernel import CONFIGS, prune_tiles
    tried = set()
    for size, ins, outs, kernel in itertools.product(range(24), (16, 26, 104, 2048), (6, 26, 56, 2048), (1, 3)):
        configs = prune_tiles(CONFIGS, dict(size=size, x=torch.zeros(0, dtype=dtype)), in_channels=ins,
                              out_channels=outs, kernel=kernel, stride=1)
        assert 1 <= len(configs) <= 8
        tried.update(configs)
    assert len(tried) == (len(CONFIGS) if dtype == torch.bfloat16 else 5)
