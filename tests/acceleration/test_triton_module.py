"""The accelerated backbone where it cannot run."""
import pytest
import torch

from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate

pytest.importorskip('triton')


def test_without_a_gpu():
    plain = Res2Net(depth=26, base_channels=16)
    with pytest.raises(ValueError, match='accelerate: Res2Net with triton: TritonBackbone runs on CUDA, not on cpu'):
        accelerate(plain, 'triton')
    fast = accelerate(plain, 'triton', check=False)
    with pytest.raises(ValueError, match='TritonBackbone runs on CUDA, not on cpu'):
        fast(torch.zeros(1, 3, 32, 32))
