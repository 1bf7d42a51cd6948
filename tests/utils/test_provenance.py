"""Where a number comes from."""
import pytest

from res2net_mm.utils import provenance
from res2net_mm.utils.errors import UserError


def test_the_name_of_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(provenance, 'PROBE', 'raise AssertionError("Invalid device id")')
    with pytest.raises(UserError, match='^--device cuda:7: AssertionError: Invalid device id$'):
        provenance.probe_torch('cuda:7')
