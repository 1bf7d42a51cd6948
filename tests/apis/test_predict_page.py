"""docs/predict.md: the code on it runs, and the arguments in its table are those of the command."""
import re

import cv2
import numpy as np
import pytest
from helpers import ROOT

from res2net_mm.cli.predict import build_parser

PAGE = (ROOT / 'docs' / 'predict.md').read_text(encoding='utf-8')


def test_the_code_runs(small_model, tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmpretrain')
    code, = re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL)
    config, checkpoint = small_model('classification')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'photos').mkdir()
    for number in range(3):
        cv2.imwrite(f'photos/{number}.png', np.full((40, 50, 3), 90, np.uint8))
    (tmp_path / 'photos/bad.png').write_bytes(b'')
    exec(code.replace('config.py', config).replace('checkpoint.pth', checkpoint), {})
    said = capsys.readouterr().out
    assert "bad.png' is empty" in said and re.search(r"2\.png \[\('(upright|level)', [01]\.", said)
    assert (tmp_path / 'results.json').is_file()


def test_the_table_has_every_argument():
    options = {option for action in build_parser()._actions for option in action.option_strings if option[:2] == '--'}
    assert set(re.findall(r'`(--[a-z-]+)', PAGE)) >= options - {'--help'}
    assert set(re.findall(r'(?<![\w-])(--[a-z][a-z-]*)', PAGE)) <= options
