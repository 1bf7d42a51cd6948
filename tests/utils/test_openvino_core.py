"""One core of OpenVINO for the whole process: with several, signals may kill Python."""
import re
import subprocess
import sys

import pytest
from helpers import ROOT

SCRIPT = """
import gc, os, signal
import torch
from res2net_mm import Res2Net
from res2net_mm.acceleration.backends import accelerate

def run():
    model = accelerate(Res2Net(depth=26, base_channels=8).eval(), 'openvino')
    model(torch.zeros(1, 3, 32, 32))
    return model

with torch.no_grad():
    first, second = run(), run()
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print('a child has ended'))
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_signals_arrive_after_models_are_gone():
    pytest.importorskip('openvino')
    ran = subprocess.run([sys.executable, '-X', 'faulthandler', '-c', SCRIPT], capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout.endswith('a child has ended\n'), ran.stderr


def test_nobody_makes_a_core_of_their_own():
    makers = {path.name for path in (ROOT / 'res2net_mm').rglob('*.py') if '.mim' not in path.parts
              and re.search(r'openvino\.(Core|compile_model)\(', path.read_text())}
    assert makers == {'openvino_core.py'}
