"""Triton's kernel, passes and module without a GPU: their cases in Triton's interpreter."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('triton')


@pytest.mark.slow
@pytest.mark.parametrize('cases', ['kernel', 'module', 'passes'])
def test_in_the_interpreter(cases):
    """In a process of its own, since Triton reads the variable while it is imported."""
    path = Path(__file__).with_name(f'triton_{cases}_cases.py')
    done = subprocess.run([sys.executable, '-m', 'pytest', '-q', str(path)],
                          env={**os.environ, 'TRITON_INTERPRET': '1'}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
