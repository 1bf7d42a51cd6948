"""Unpickling checkpoints: functions of ours rebuild tensors, arrays and containers from a pickle, and nothing else.

PyTorch's ``weights_only=True`` calls what its list of names allows, and mmengine adds ``getattr`` and NumPy's functions
to that list: with those a pickle of allowed names alone runs any code. Here a name in a pickle only chooses a function
of ``constructors.py``, which checks its arguments. Python's own loop over the opcodes runs it, for the opcodes that
``torch.save`` writes; objects get a state from a pickle by ``load_build`` alone.
"""
from __future__ import annotations

import pickle
import re
from collections import Counter, OrderedDict
from typing import IO, Any, Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from .constructors import (
    CONSTRUCTORS,
    Constructor,
    ForeignError,
    Numbers,
    UnfitError,
    checked_key,
    require,
    set_array,
    set_history,
    set_versions,
)

# Reads from a pickle, of which a tensor takes about 70; a large file may have more, one for so many of its bytes.
MOST_OPERATIONS = 1_000_000
BYTES_PER_OPERATION = 100
OPCODES = [
    'PROTO', 'STOP', 'MARK', 'GLOBAL', 'REDUCE', 'NEWOBJ', 'BUILD', 'BINPERSID', 'APPEND', 'APPENDS', 'SETITEM',
    'SETITEMS', 'NONE', 'NEWFALSE', 'NEWTRUE', 'EMPTY_DICT', 'EMPTY_LIST', 'EMPTY_TUPLE', 'EMPTY_SET', 'TUPLE',
    'TUPLE1', 'TUPLE2', 'TUPLE3', 'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINSTRING',
    'BINGET', 'LONG_BINGET', 'BINPUT', 'LONG_BINPUT',
]
OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}  # Python 2
STORAGE = re.compile(r'torch\.(?:cuda\.|storage\.)?(\w+)Storage')
DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
STORAGE_TYPES = {
    'Double': torch.float64, 'Float': torch.float32, 'Half': torch.float16, 'BFloat16': torch.bfloat16,
    'Long': torch.int64, 'Int': torch.int32, 'Short': torch.int16, 'Char': torch.int8, 'Byte': torch.uint8,
    'Bool': torch.bool, 'Untyped': torch.uint8, 'ComplexFloat': torch.complex64, 'ComplexDouble': torch.complex128,
}
UNFIT = {  # what PyTorch would rebuild, and no weight can be copied from
    'torch._utils._rebuild_sparse_tensor': 'a sparse tensor{}; save the weights dense, with tensor.to_dense()',
    'torch._utils._rebuild_qtensor': 'a quantized tensor{}; save the weights before the model is quantized',
    'torch._utils._rebuild_meta_tensor_no_storage': "a tensor{} on the device 'meta', which has a shape and no values",
    'torch._utils._rebuild_nested_tensor': 'a nested tensor{}, where weights must be plain tensors',
    'torch._utils._rebuild_wrapper_subclass': "a tensor{} of a class of its own, where weights must be plain tensors",
    'torch.distributed.tensor.DTensor': 'a part of a distributed tensor{}; save the full state dict of the model',
}


class PickleFile:
    """The bytes of one or several pickles, of which no more are read than there are.

    Args:
        file (IO[bytes]): The file, at the beginning of a pickle.
        size (int): The number of bytes from there to its end.
        whole (int): The size of the checkpoint that it is a part of.
    """

    def __init__(self, file: IO[bytes], size: int, whole: int) -> None:
        self.file, self.size, self.left = file, size, size
        self.operations = MOST_OPERATIONS + whole // BYTES_PER_OPERATION  # that are left

    def read(self, count: int) -> bytes:
        """Read ``count`` bytes."""
        self.operations -= 1
        self.left -= count
        if self.left < 0:
            raise EOFError('the pickle ends in the middle')
        if self.operations < 0:
            raise UnfitError(f'has a pickle of more than {MOST_OPERATIONS} operations, which is none of weights')
        return self.file.read(count)

    def readline(self) -> bytes:
        """Read a name."""
        line = self.file.readline(500)
        self.left -= len(line)
        return line


class Opcodes(dict):
    """What to do at each opcode that is allowed; any other is an error."""

    def __missing__(self, code: int) -> None:
        raise ForeignError(f"a pickle, but neither one of PyTorch's nor of Paddle's (opcode {code}); nothing of it was "
                           'run')


class Unpickler(pickle._Unpickler):
    """Unpickles what a checkpoint needs.

    Args:
        file (PickleFile): The pickle.
        storage (Callable | None): Finds the numbers of a storage by type, key, device and count. Defaults to None, for
            pickles that refer to none.
        encoding (str): Of texts of Python 2. Defaults to 'utf-8'.

    ``load`` raises UnfitError or ForeignError for what is not a checkpoint's, other exceptions for a damaged pickle.
    """

    stack: list[Any]
    metastack: list[list[Any]]

    def __init__(self, file: PickleFile, storage: Callable[[torch.dtype, str, str, int], Numbers] | None = None,
                 encoding: str = 'utf-8') -> None:
        super().__init__(file, encoding=encoding)
        self.storage = storage
        # What functions are given must be in the file, too: no text is encoded 1000 times. An array's content is given
        # twice, to be encoded and to be taken.
        self.budget = 2 * file.size

    def find_class(self, module: str, name: str) -> Any:
        """The function of ours, or the type of numbers, that a name stands for."""
        name = f'{OLD_MODULES.get(module, module)}.{name}'.replace('numpy._core.', 'numpy.core.')
        if name in CONSTRUCTORS:
            return CONSTRUCTORS[name]
        storage = STORAGE.fullmatch(name)
        if storage and storage[1].startswith('Q'):
            name = 'torch._utils._rebuild_qtensor'
        if name in UNFIT:
            raise UnfitError('holds ' + UNFIT[name].format(self._key()))
        if storage and storage[1] in STORAGE_TYPES:
            return STORAGE_TYPES[storage[1]]
        if name in DTYPES:
            return DTYPES[name]
        raise UnfitError('is refused, and nothing of it was run: it is not made of weights alone, loading it would '
                         f'call {name}. A model that was pickled whole looks like this, and so does malicious code. '
                         'Where it comes from, save the weights: torch.save(model.state_dict(), FILE)')

    def _key(self) -> str:
        """The text that was read last: the key of the value that is being read."""
        texts = (value for stack in (self.stack, *reversed(self.metastack)) for value in reversed(stack)
                 if isinstance(value, str))
        return next((f" ('{text[:100]}')" for text in texts), '')

    def persistent_load(self, pid: Any) -> Numbers:
        """A storage; its numbers lie elsewhere in the file."""
        if self.storage is None or not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != 'storage':
            raise UnfitError('refers to something outside the pickle that is no storage')
        _, dtype, key, device, count, *view = pid
        if view not in ([], [None]):
            raise UnfitError('is in a format of before PyTorch 0.4; load and save it with PyTorch 1')
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not isinstance(device, str):
            raise UnfitError('names a storage by something that is no text')
        if type(count) is not int or count < 0:
            raise UnfitError(f'has a storage of {count!r:.100} numbers')
        return self.storage(dtype, key, device, count)

    def load_reduce(self) -> None:
        """Call a function of ours."""
        arguments, constructor = self.stack.pop(), self.stack[-1]
        if not isinstance(constructor, Constructor) or type(arguments) is not tuple:
            raise UnfitError('is refused, and nothing of it was run: it calls what is no function of torch.save')
        self._spend(sum(len(value) for value in arguments if isinstance(value, (str, bytes, list, tuple, dict))))
        self.stack[-1] = constructor.build(*arguments)

    def load_newobj(self) -> None:
        """Make an object; for us that is a call, too."""
        self.load_reduce()

    def load_build(self) -> None:
        """Give an object its state: the few kinds that have one."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is OrderedDict:
            set_versions(target, state)
        elif type(target) is np.ndarray:
            self._spend(len(state[-1]))
            set_array(target, state)
        elif type(target) is HistoryBuffer:
            set_history(target, state)
        elif not isinstance(target, np.dtype) or tuple(state[2:5]) != (None, None, None) or state[1] not in '<|=':
            raise UnfitError(f'gives a {type(target).__name__} a state that no checkpoint needs')

    def load_append(self) -> None:
        """Append a value to a list."""
        value = self.stack.pop()
        require(self.stack[-1], list).append(value)

    def load_appends(self) -> None:
        """Append values to a list."""
        values = self.pop_mark()  # type: ignore[attr-defined]
        require(self.stack[-1], list).extend(values)

    def load_setitem(self) -> None:
        """Set an item of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        require(self.stack[-1], dict, OrderedDict, Counter)[checked_key(key)] = value

    def load_setitems(self) -> None:
        """Set items of a dict."""
        values = self.pop_mark()  # type: ignore[attr-defined]
        target = require(self.stack[-1], dict, OrderedDict, Counter)
        for i in range(0, len(values), 2):
            target[checked_key(values[i])] = values[i + 1]

    def _spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise UnfitError('repeats its contents until they are many times as large as the file')

    dispatch = Opcodes({getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
                         for name in OPCODES})
    for _code, _load in ((pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_newobj), (pickle.BUILD, load_build),
                         (pickle.APPEND, load_append), (pickle.APPENDS, load_appends),
                         (pickle.SETITEM, load_setitem), (pickle.SETITEMS, load_setitems)):
        dispatch[_code[0]] = _load
