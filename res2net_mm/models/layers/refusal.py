"""Errors of arguments: one that breaks its rule, of a layer that cannot be built, or of a model that is too large."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Mapping, NoReturn

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

MOST_WEIGHTS = 1 << 30  # 4 GiB in float32; the largest of the published models has 100 million


class ArgumentError(ValueError):
    """An argument that is not allowed; the message does not name the model yet."""


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise an ArgumentError."""
    raise ArgumentError(f'{name}={value!r} must be {allowed}')


@contextmanager
def limited_size(arguments: Mapping[str, object]) -> Iterator[None]:
    """Refuse a model of more than MOST_WEIGHTS before its memory is touched, naming the largest of some arguments."""
    weights = 0

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal weights
        weights += 0 if parameter is None or is_lazy(parameter) else parameter.numel()
        if weights > MOST_WEIGHTS:
            refuse_largest()

    def refuse_largest() -> NoReturn:
        sizes = {name: max(integers_in(value), default=0) for name, value in arguments.items()}
        name = max(sizes, key=lambda name: sizes[name])
        refuse(name, arguments[name], f'smaller, for a model of at most {MOST_WEIGHTS} weights')

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except Exception as error:
        # PyTorch cannot even reserve the memory, or not write the size down.
        too_large = isinstance(error.__cause__ or error, (RuntimeError, OverflowError, MemoryError, TypeError))
        if too_large and any(size ** 2 > MOST_WEIGHTS for value in arguments.values() for size in integers_in(value)):
            refuse_largest()
        raise
    finally:
        handle.remove()


def integers_in(value: object) -> list[int]:
    """The integers that a value is, or that are in a sequence."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return [item for item in values if type(item) is int]


@contextmanager
def naming_argument(name: str, cfg: object, what: str = 'what its layer takes') -> Iterator[None]:
    """If a layer cannot be built, raise an error with the name of the argument that has its config."""
    try:
        yield
    except ArgumentError:  # which names another argument
        raise
    except Exception as error:  # layers of any library are built here, and refuse in any way
        raise ArgumentError(f'{name}={cfg!r} must be {what}: {type(error).__name__}: {error}') from error
