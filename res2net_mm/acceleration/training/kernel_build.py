"""Compiling the kernels: once for a CPU, a compiler and a PyTorch, by one process while the others wait."""
from __future__ import annotations

import hashlib
import logging
import os
import platform
import subprocess
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from mmengine.logging import print_log

SOURCE = Path(__file__).with_name('norm_kernels.cpp')
FLAGS = ['-O3', '-march=native', '-fopenmp', '-fno-math-errno', '-fno-trapping-math']


@lru_cache(maxsize=None)
def kernels() -> Any:
    """The kernels, compiled when they are first asked for; later processes find them in PyTorch's cache.

    Raises:
        RuntimeError: If there is no C++ compiler, or no ninja.
        OSError: If the cache cannot be written.
    """
    build(build_folder())
    return torch.ops.res2net_mm


@lru_cache(maxsize=None)
def find_compile_error() -> str | None:
    """Why the kernels cannot be compiled; None if they can."""
    try:
        kernels()
    except (RuntimeError, OSError) as error:
        return str(error)
    return None


def has_kernels() -> bool:
    """Whether there are kernels; warns if there are none."""
    error = find_compile_error()
    if error is not None:
        warnings.warn(f'accelerate_training changes nothing, its kernels cannot be compiled: {error}', stacklevel=3)
    return error is None


def build(folder: Path) -> None:
    """Compile the kernels in a folder, or find them there, and load them.

    The lock is one of the system's, which ends with the process that holds it. PyTorch's own is a file, which a process
    that is killed leaves behind, so that all later ones would wait for ever; whoever holds ours may remove it.
    """
    from torch.utils.cpp_extension import load
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / 'compiling.lock'))
    try:
        lock.acquire(timeout=1)
    except Timeout:
        print_log(f'Waiting for another process to compile the kernels of accelerate_training in {folder}.',
                  logger='current', level=logging.WARNING)
        lock.acquire()
    try:
        (folder / 'lock').unlink(missing_ok=True)
        load(folder.name, [str(SOURCE)], is_python_module=False, extra_cflags=FLAGS, build_directory=str(folder))
    finally:
        lock.release()


def build_folder() -> Path:
    """The folder of the kernels in PyTorch's cache of extensions, named after all that they depend on.

    ``-march=native`` makes instructions of this CPU, and home directories are shared by machines.
    """
    from torch.utils.cpp_extension import get_default_build_root
    dependencies = [SOURCE.read_text(), *FLAGS, torch.__version__, cpu_features(), compiler_version()]
    digest = hashlib.sha256('\n'.join(dependencies).encode()).hexdigest()[:16]
    cache = Path(os.environ.get('TORCH_EXTENSIONS_DIR') or get_default_build_root())
    return cache / f'res2net_mm_norm_kernels_{digest}'


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
