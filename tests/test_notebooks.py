"""The notebooks: jupytext reads them, nothing is stored in them, and each runs from top to bottom."""
import os
import re
import subprocess
import sys

import pytest
from helpers import ROOT

NOTEBOOKS = sorted((ROOT / 'notebooks').glob('*.py'))


def stem(path):
    return path.stem


def test_there_are_three():
    assert len(NOTEBOOKS) == 3
    assert all(f'`{path.name}`' in (ROOT / 'notebooks' / 'README.md').read_text() for path in NOTEBOOKS)
    assert {path.suffix for path in (ROOT / 'notebooks').iterdir()} == {'.py', '.md'}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=stem)
def test_a_notebook_is_read(path):
    """Text and code by turns, a title first, an assertion last, and names of public things alone."""
    jupytext = pytest.importorskip('jupytext', reason='jupytext is not installed')
    cells = jupytext.read(path).cells
    kinds = [cell.cell_type for cell in cells]
    assert set(kinds) == {'markdown', 'code'} and kinds.count('markdown') >= 5 and kinds.count('code') >= 5
    assert cells[0].cell_type == 'markdown' and cells[0].source.startswith('# ')
    code = [cell for cell in cells if cell.cell_type == 'code']
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert re.search('^assert ', code[-1].source, re.MULTILINE)
    assert not re.search(r'(?<![\w])_[a-z]\w*', re.sub('for _[^a-z]', '', '\n'.join(cell.source for cell in code)))
    compile('\n'.join(cell.source for cell in code), str(path), 'exec')


@pytest.mark.slow
@pytest.mark.notebook
@pytest.mark.parametrize('path', NOTEBOOKS, ids=stem)
def test_a_notebook_runs(path, tmp_path):
    env = dict(os.environ, MPLBACKEND='Agg', PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    streams = dict(capture_output=True, text=True, timeout=300)
    run = subprocess.run([sys.executable, str(path)], cwd=tmp_path, env=env, **streams)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
