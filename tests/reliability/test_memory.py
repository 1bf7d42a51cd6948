"""The memory of a process that runs images of ever other sizes does not grow with their number.

What is in use is asked of glibc: the resident size also holds free pages, which its heap keeps between what stays, and
which come and go by up to a third.
"""
import ctypes
import json
import os
import subprocess
import sys

import pytest
from helpers import ROOT, needs_compiler

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallinfo2'), reason='needs glibc 2.33 or later')

# Runs images of which no two are of one size; prints [images, MiB resident, MiB in use] after some numbers of them.
MEASURE = """
import ctypes, json, sys
import torch
from res2net_mm import accelerate
from res2net_mm.registry import MODELS

arguments, backend, (least, most), reports = json.loads(sys.argv[1])

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost')]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo2
torch.set_num_threads(1)
torch.manual_seed(0)
model = MODELS.build(dict(type='res2net_mm.Res2Net', **arguments)).eval()
if backend != 'plain':
    model = accelerate(model, backend)
side = most + 1 - least
for image, size in enumerate(torch.randperm(side ** 2)[:max(reports)].tolist(), 1):
    height, width = least + size // side, least + size % side
    with torch.no_grad():
        model(torch.randn(1, 3, height, width))
    if image in reports:
        status = open('/proc/self/status').read()
        resident = int(status.partition('VmRSS:')[2].split()[0]) / 1024
        heap = libc.mallinfo2()
        in_use = (heap.uordblks + heap.hblkhd) / 2 ** 20
        print(json.dumps([image, round(resident), round(in_use)]), flush=True)
"""


def measure(arguments, backend, sizes, reports, **environment):
    settings = json.dumps([arguments, backend, sizes, reports])
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', MEASURE, settings], capture_output=True, text=True,
                            cwd=ROOT, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith('[')]


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['pytorch', pytest.param('native', marks=needs_compiler), 'onnxruntime'])
def test_new_sizes_need_no_new_memory(backend):
    """oneDNN keeps 1024 primitives, which take some 100 MiB after hundreds of sizes; here it is full soon.

    Weights kept in an order for each size would be 25 MiB a size.
    """
    if backend == 'onnxruntime':
        pytest.importorskip(backend)
    early, late = measure(dict(depth=26), backend, (32, 64), [15, 45], ONEDNN_PRIMITIVE_CACHE_CAPACITY='64')
    assert late[2] - early[2] < 32, (early, late)
    assert late[1] - early[1] < 100, (early, late)


@pytest.mark.soak
@pytest.mark.parametrize('backend', ['plain', 'pytorch', pytest.param('native', marks=needs_compiler)])
def test_4000_images_of_mixed_sizes(backend):
    reports = [10, 100, *range(500, 4001, 500)]
    rows = measure(dict(depth=50), backend, (96, 256), reports)
    print(f'{backend}:\n| images | MiB resident | MiB in use |\n|---|---|---|')
    print(*(f'| {" | ".join(map(str, row))} |' for row in rows), sep='\n')
    warm = [row for row in rows if row[0] >= 1000]
    assert max(row[2] for row in warm) - min(row[2] for row in warm) < 64  # the table of primitives turns over
    assert warm[-1][1] < 1.15 * warm[0][1]
