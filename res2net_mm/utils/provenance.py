"""Where a measured number comes from: the code, the machine and the date."""
from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

from ..version import __version__
from .errors import UserError

# PyTorch's version and the GPU's name, asked in a process of its own, so that this one holds no memory of a GPU.
PROBE = """
import json, sys, torch
device = sys.argv[1]
gpu = torch.cuda.is_available() and not device.startswith('cpu')
index = int(device.partition(':')[2] or 0)  # among the GPUs that are visible
print(json.dumps([torch.__version__, torch.cuda.get_device_name(index) if gpu else None]))
"""


class Provenance(TypedDict):
    """Where a number comes from.

    Attributes:
        date (str): Date and time in UTC, ISO 8601.
        commit (str | None): The code's commit, see ``commit``.
        version (str): The package's version.
        torch (str): PyTorch's version.
        device (str): Name of the device.
    """

    date: str
    commit: str | None
    version: str
    torch: str
    device: str


def provenance(device: str | None = None) -> Provenance:
    """The date, the code's commit and version, PyTorch's, and the device's name.

    Args:
        device (str | None): A ``--device``: cpu, cuda or cuda:INDEX. Defaults to None: a GPU if there is one.

    Returns:
        Provenance: ``date``, ``commit``, ``version``, ``torch`` and ``device``.

    Raises:
        UserError: If there is no such GPU.
    """
    torch_version, device_name = probe_torch(device or '')
    return Provenance(date=now(), commit=commit(), version=__version__, torch=torch_version, device=device_name)


def now() -> str:
    """The date and time, UTC, in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


@lru_cache(maxsize=None)
def probe_torch(device: str) -> tuple[str, str]:
    """PyTorch's version, and the name of a device; '' is a GPU if there is one."""
    process = subprocess.run([sys.executable, '-c', PROBE, device], capture_output=True, text=True)
    if process.returncode:
        raise UserError(f'--device {device}: {process.stderr.strip().splitlines()[-1]}')
    torch_version, gpu = json.loads(process.stdout.splitlines()[-1])
    return torch_version, gpu or cpu_name()


def cpu_name() -> str:
    """The processor's name."""
    info = Path('/proc/cpuinfo')
    names = [line.partition(':')[2].strip() for line in (info.read_text().splitlines() if info.is_file() else [])
             if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The package's commit, 'COMMIT dirty' if there are changes that it does not have, None outside a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ['git', '-C', str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git('rev-parse', '--show-toplevel')).resolve() != root:
            return None  # installed somewhere inside another project
        return git('rev-parse', 'HEAD') + (' dirty' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.CalledProcessError):
        return None
