import pytest

from res2net_mm.acceleration.training.autograd import FusedBlock


@pytest.fixture
def fused(monkeypatch):
    """The blocks that went through FusedBlock."""
    seen, forward = [], FusedBlock.forward
    monkeypatch.setattr(FusedBlock, 'forward', staticmethod(lambda ctx, *args: (seen.append(args[0]),
                                                                                forward(ctx, *args))[1]))
    return seen
