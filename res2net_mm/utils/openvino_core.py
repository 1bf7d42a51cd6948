"""The one ``openvino.Core`` of a process."""
from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino


@lru_cache(maxsize=1)
def openvino_core() -> openvino.Core:
    """OpenVINO's entry to devices and files, which lives as long as the process.

    A core that uses the CPU gives its thread a stack for signals, and takes it away when the last model of the core is
    gone (seen in OpenVINO 2026.4). Of two cores the later one then puts back the stack of the earlier one, which is
    gone if that was freed first, and the next signal, such as the end of a process that loads data, kills Python.

    Raises:
        ModuleNotFoundError: If OpenVINO is not installed.
    """
    import openvino
    return openvino.Core()
