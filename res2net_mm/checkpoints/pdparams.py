"""Paddle's files of weights, ``.pdparams``: a pickle of NumPy arrays by name, read without Paddle.

``paddle.save`` writes protocol 2, 3 or 4. Beside the arrays there may be two dicts: the names that parameters have in
a static graph, which nobody needs here, and a list of arrays of over 1 GiB, which protocols 2 and 3 hold in parts.
"""
from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from .constructors import ARRAYS, ForeignError, UnfitError, require
from .unpickling import Opcodes, PickleFile, Unpickler

STATIC_NAMES = 'StructuredToParameterName@@'
PARTS = 'UnpackBigParamInfor@@'  # their spelling
PROTOCOL = 4
MORE_OPCODES = [  # of the newer protocols, and of Python 2
    'FRAME', 'MEMOIZE', 'STACK_GLOBAL', 'SHORT_BINUNICODE', 'BINUNICODE8', 'SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8',
    'BINSTRING',
]


class ArrayUnpickler(Unpickler):
    """Unpickles NumPy arrays, in containers, and nothing else; also what Python 2 has pickled.

    Args:
        file (PickleFile): The pickle.
    """

    def __init__(self, file: PickleFile) -> None:
        super().__init__(file, encoding='latin1')

    def find_class(self, module: str, name: str) -> Any:
        """The function of ours that a name stands for, of those for arrays."""
        constructor = super().find_class(module, name)
        if constructor not in ARRAYS:
            raise UnfitError("is refused, and nothing of it was run: it has more than arrays, which Paddle's files are "
                             f'made of: {module}.{name}')
        return constructor

    def load_frame(self) -> None:
        """Pass over the size of a frame, and read what is in it as if there were none, so that all reads count."""
        self.read(8)  # type: ignore[attr-defined]

    dispatch = Opcodes({**Unpickler.dispatch, **{getattr(pickle, name)[0]: pickle._Unpickler.dispatch[
        getattr(pickle, name)[0]] for name in MORE_OPCODES}, pickle.FRAME[0]: load_frame})


def read_pdparams(path: Path) -> dict[str, Tensor]:
    """Read a file of ``paddle.save(layer.state_dict(), path)``.

    Args:
        path (Path): The file.

    Returns:
        dict[str, Tensor]: The weights, on the CPU. Arrays of uint16 are bfloat16, which NumPy does not have.

    Raises:
        UnfitError, ForeignError: If it cannot be taken. Other errors mean that it is damaged.
    """
    size = path.stat().st_size
    with open(path, 'rb') as file:
        content = ArrayUnpickler(PickleFile(file, size, size)).load()
    if not isinstance(content, dict) or not any(isinstance(value, np.ndarray) for value in content.values()):
        raise ForeignError("a pickle, but neither one of PyTorch's nor arrays by name, as Paddle's are; nothing of it "
                           'was run')
    content.pop(STATIC_NAMES, None)
    _join_parts(content, content.pop(PARTS, {}))
    return {key: _to_tensor(key, content[key]) for key in content}


def _join_parts(content: dict[str, Any], parts: Any) -> None:
    """Put arrays together that are held in parts, in place."""
    for key, how in require(parts, dict).items():
        try:
            pieces = [content.pop(name) for name in how['slices']]
            content[key] = np.concatenate(pieces).reshape(how['OriginShape'])
        except (KeyError, TypeError, ValueError) as error:
            raise UnfitError(f'has parts of an array that do not fit together ({key!r:.90}: {error!s:.90})') from error


def _to_tensor(key: str, value: Any) -> Tensor:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in 'biuf':
        raise UnfitError(f"holds a {type(value).__name__} ('{key!s:.90}') where an array of numbers belongs, as in a "
                         'file of Paddle')
    if value.dtype == np.uint16:
        return torch.tensor(value.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(value)


def write_pdparams(state: dict[str, Tensor], file: IO[bytes]) -> None:
    """Write weights as ``paddle.save`` does.

    Args:
        state (dict[str, Tensor]): The weights, by the names that Paddle's model has for them.
        file (IO[bytes]): Where to.
    """
    arrays: dict[str, Any] = {key: _to_array(value) for key, value in state.items()}
    arrays[STATIC_NAMES] = {key: key for key in state}
    pickle.dump(arrays, file, PROTOCOL)


def _to_array(weight: Tensor) -> np.ndarray:
    weight = weight.detach().cpu().contiguous()
    return weight.view(torch.int16).numpy().view(np.uint16) if weight.dtype == torch.bfloat16 else weight.numpy()
