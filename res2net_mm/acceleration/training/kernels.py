"""The compiled kernels, and what is done where they cannot be compiled."""
from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ..kernel_build import build, build_folder

SOURCE = Path(__file__).with_name('kernels.cpp')
FILES = [SOURCE, SOURCE.with_name('weight_gradient.h')]
FLAGS = ['-O3', '-march=native', '-fopenmp', '-fno-math-errno', '-fno-trapping-math']


@lru_cache(maxsize=None)
def kernels() -> Any:
    """The kernels, compiled when they are first asked for; later processes find them in PyTorch's cache.

    Raises:
        RuntimeError: If there is no C++ compiler, or no ninja.
        OSError: If the cache cannot be written.
    """
    build(build_folder('training_kernels', FILES, FLAGS), SOURCE, FLAGS)
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
