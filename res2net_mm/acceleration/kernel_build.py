"""Compiling C++: once for a CPU, a compiler and a PyTorch, by one process while the others wait."""
from __future__ import annotations

import hashlib
import logging
import os
import platform
import subprocess
from pathlib import Path
from typing import Sequence

import torch
from filelock import FileLock, Timeout
from mmengine.logging import print_log


def build(folder: Path, source: Path, flags: Sequence[str]) -> None:
    """Compile a source in a folder, or find there what was made of it, and load that.

    The lock is one of the system's, which ends with the process that holds it. PyTorch's own is a file, which a process
    that is killed leaves behind, so that all later ones would wait for ever; whoever holds ours may remove it.
    """
    from torch.utils.cpp_extension import load
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / 'compiling.lock'))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print_log(f'Waiting for another process to compile {source.name} in {folder}.',
                  logger='current', level=logging.WARNING)
        lock.acquire()
    try:
        (folder / 'lock').unlink(missing_ok=True)
        # What is compiled here uses OpenMP, whose library not every compiler finds among those that PyTorch has loaded.
        load(folder.name, [str(source)], is_python_module=False, extra_cflags=list(flags),
             extra_ldflags=['-fopenmp'], build_directory=str(folder))
    finally:
        lock.release()


def build_folder(name: str, files: Sequence[Path], flags: Sequence[str]) -> Path:
    """A folder in PyTorch's cache of extensions, named after all that the result depends on.

    ``-march=native`` makes instructions of this CPU, and home directories are shared by machines.

    Args:
        name (str): What the folder is named by, with a hash.
        files (Sequence[Path]): The source and its headers.
        flags (Sequence[str]): The compiler's.
    """
    from torch.utils.cpp_extension import get_default_build_root
    sources = [file.read_text() for file in files]
    dependencies = [*sources, *flags, torch.__version__, cpu_features(), compiler_version()]
    digest = hashlib.sha256('\n'.join(dependencies).encode()).hexdigest()[:16]
    cache = Path(os.environ.get('TORCH_EXTENSIONS_DIR') or get_default_build_root())
    return cache / f'res2net_mm_{name}_{digest}'


def cpu_features() -> str:
    """What the CPU can do, as text that two machines share if they run the same instructions."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:  # not Linux
        return f'{platform.machine()} {platform.processor()}'
    kinds = ('vendor_id', 'cpu family', 'model', 'flags', 'Features', 'CPU implementer', 'CPU part')
    return '\n'.join(sorted({line for line in lines if line.partition(':')[0].strip() in kinds}))


def compiler_version() -> str:
    """The C++ compiler, as PyTorch chooses it, and its version; its name alone if it does not run."""
    compiler = os.environ.get('CXX', 'c++')
    try:
        return compiler + subprocess.run([*compiler.split(), '--version'], capture_output=True, text=True).stdout
    except OSError:
        return compiler
