"""PaddleClas's own models and ours, with few channels; `tools/dev/paddle_parity.py` has the public sizes."""
import os
import subprocess
import sys

import pytest
import torch

from res2net_mm.analysis.paddle_parity import OUTPUTS, Variant, compare_with_paddle, parity_table, relative_error
from res2net_mm.utils.errors import UserError

PADDLE = 'RES2NET_MM_PADDLE'  # names an interpreter with paddlepaddle and paddleclas


@pytest.fixture(scope='module')
def python():
    name = os.environ.get(PADDLE, sys.executable)
    found = 'import importlib.util, sys; sys.exit(any(map(lambda x: not importlib.util.find_spec(x), sys.argv[1:])))'
    if subprocess.run([name, '-c', found, 'paddle', 'paddleclas']).returncode:
        pytest.skip(f'no paddlepaddle or no paddleclas; {PADDLE} may name an interpreter that has them')
    return name


@pytest.mark.slow
@pytest.mark.parametrize('variant', [Variant('Res2Net50_5w_3s', 50, 3, 5), Variant('Res2Net101_vd_4w_4s', 101, 4, 4)],
                         ids=lambda variant: variant.name)
def test_the_same_features(variant, python, tmp_path):
    result = compare_with_paddle(variant, python, tmp_path)
    assert result.errors.keys() == set(OUTPUTS) and result.holds, result.errors
    assert result.other_function > 1e-2  # or the comparison would not notice
    assert parity_table([result])[0][0] == variant.name


def test_an_interpreter_without_paddle_is_named(tmp_path):
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any package
    python.chmod(0o755)
    with pytest.raises(UserError, match=f'{python}, make Res2Net50_26w_4s: .*No module named'):
        compare_with_paddle(Variant('Res2Net50_26w_4s', 50, 4, 26), python, tmp_path)


def test_what_is_not_finite_is_not_the_same():
    infinite = torch.tensor([float('inf'), 1.])
    assert not relative_error(infinite, infinite) <= 1
    assert relative_error(torch.tensor([1e30, 2e30]), torch.tensor([1e30, 1e30])) == pytest.approx(0.5**0.5)
