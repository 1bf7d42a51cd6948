"""Rules for constructor arguments, and the decorator that has them checked.

A model lists one rule for every argument of its ``__init__``. Read from top to bottom they say what is allowed::

    RULES = dict(
        depth=OneOf(50, 101),
        num_stages=Integer(1, 4),
        strides=Integers(1, length=lambda given: given['num_stages']),
        norm_cfg=LayerConfig(),
    )

    class Net(nn.Module):

        @checked(RULES)
        def __init__(self, depth=50, num_stages=4, strides=(1, 2, 2, 2), norm_cfg=BN): ...

Where a limit depends on other arguments, it is a function of all arguments, of which those further up are checked. A
value that breaks a rule is a ValueError with the names of the model and the argument, the value, and what is allowed.
Rules for configs, such as LayerConfig, are in ``layer_configs.py``.
"""
from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, NoReturn, TypeVar, Union

from ..names import ARCHITECTURES, resolve

Given = Dict[str, Any]  # all arguments of a call by name
Limit = Union[int, Callable[[Given], int]]
Init = TypeVar('Init', bound=Callable[..., None])


class ArgumentError(ValueError):
    """An argument that is not allowed; the message does not name the model yet."""


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise an ArgumentError."""
    raise ArgumentError(f'{name}={value!r} must be {allowed}')


def checked(rules: Mapping[str, Rule]) -> Callable[[Init], Init]:
    """Have the arguments of an ``__init__`` checked by rules, top to bottom, before it runs.

    Args:
        rules (dict[str, Rule]): A rule for every argument, by name. What a rule returns is passed on in place of the
            value: an argument whose None stands for something arrives as that.

    Raises:
        ValueError: From ``__init__``, if an argument breaks its rule, or a layer cannot be built from its config.
    """

    def decorate(init: Init) -> Init:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def checked_init(self: Any, *args: Any, **kwargs: Any) -> None:
            model = type(self).__name__
            try:
                bound = signature.bind(self, *args, **kwargs)
            except TypeError as error:
                raise TypeError(f'{model}: {error}') from None
            bound.apply_defaults()
            given = bound.arguments
            try:
                for name, rule in rules.items():
                    given[name] = rule.check(name, given[name], given)
                init(*bound.args, **bound.kwargs)
            except ArgumentError as error:
                raise ValueError(f'{model}: {error}') from error

        return checked_init  # type: ignore[return-value]

    return decorate


@contextmanager
def naming_argument(name: str, cfg: object) -> Iterator[None]:
    """Name the argument whose config a layer is built from, should the layer refuse it."""
    try:
        yield
    except Exception as error:  # layers of any library are built here, and refuse in any way
        raise ArgumentError(f'{name}={cfg!r} must be what its layer takes: {type(error).__name__}: {error}') from error


class Rule:
    """What an argument may be."""

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value to use.

        Args:
            name (str): The argument; of an element of a sequence with its index, 'strides[2]'.
            value (Any): Its value.
            given (dict): All arguments of the call by name; those with a rule further up are checked.

        Raises:
            ArgumentError: If the value is not allowed.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Integer(Rule):
    """An integer from ``low`` to ``high``, or one of ``words``; neither a bool nor one of NumPy.

    Args:
        low (int | Callable): The least that is allowed.
        high (int | Callable | None): The most that is allowed. Defaults to None, no limit.
        words (tuple[str]): Allowed beside integers. Defaults to ().
        where (Callable | None): What else must hold, as a function of the value and all arguments. Defaults to None.
        what (str | Callable): ``where`` in words; or a function of all arguments that says it. Defaults to ''.
    """

    low: Limit
    high: Limit | None = None
    words: tuple[str, ...] = ()
    where: Callable[[int, Given], bool] | None = None
    what: str | Callable[[Given], str] = ''

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        if type(value) is str and value in self.words:
            return value
        low, high = _limit(self.low, given), _limit(self.high, given)
        if type(value) is not int or value < low or (high is not None and value > high):
            allowed = f'an integer of at least {low}' if high is None else f'an integer from {low} to {high}'
            refuse(name, value, ' or '.join([allowed, *map(repr, self.words)]))
        if self.where and not self.where(value, given):
            refuse(name, value, self.what(given) if callable(self.what) else self.what)
        return value


@dataclass(frozen=True)
class Integers(Rule):
    """A tuple or list of integers.

    Args:
        element (Integer): The rule for each.
        length (int | Callable | None): How many there are. Defaults to None, ``at_least`` or more.
        at_least (int): How many there are at least. Defaults to 1.
        distinct (bool): Whether none may occur twice. Defaults to False.
    """

    element: Integer
    length: Limit | None = None
    at_least: int = 1
    distinct: bool = False

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        length = _limit(self.length, given)
        number = f'{NUMBERS[self.at_least]} or more' if length is None else str(length)
        wrong_length = isinstance(value, (tuple, list)) and (
            len(value) < self.at_least if length is None else len(value) != length)
        if not isinstance(value, (tuple, list)) or wrong_length:
            refuse(name, value, f'a sequence of {number} integers')
        for i, element in enumerate(value):
            self.element.check(f'{name}[{i}]', element, given)
        if self.distinct and len(set(value)) < len(value):
            refuse(name, value, 'a sequence in which none occurs twice')
        return value


@dataclass(frozen=True)
class Number(Rule):
    """A number from ``low`` to ``high``."""

    low: float
    high: float

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            refuse(name, value, f'a number from {self.low} to {self.high}')
        return value


class OneOf(Rule):
    """One of some values, of the same type too: neither 1 for True nor 4.0 for 4."""

    def __init__(self, *choices: str | int | bool) -> None:
        self.choices = choices

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        if not any(type(value) is type(choice) and value == choice for choice in self.choices):
            refuse(name, value, 'one of ' + ', '.join(map(repr, self.choices)))
        return value


class Flag(OneOf):
    """True or False."""

    def __init__(self) -> None:
        super().__init__(True, False)


@dataclass(frozen=True)
class Flags(Rule):
    """A tuple or list of True and False, one for each stage.

    Args:
        length (int | Callable): How many stages there are; a function may return None, for any number.
    """

    length: int | Callable[[Given], int | None]

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        length = _limit(self.length, given)
        if not isinstance(value, (tuple, list)) or not all(type(flag) is bool for flag in value) or (
                length is not None and len(value) != length):
            refuse(name, value, f'{"a sequence" if length is None else length} of True and False, one for each stage')
        return value


@dataclass(frozen=True)
class OrNone(Rule):
    """None, or what another rule says."""

    rule: Rule

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        return None if value is None else self.rule.check(name, value, given)


@dataclass(frozen=True)
class OrSameAs(Rule):
    """What another rule says; None stands for the value of another argument."""

    other: str
    rule: Rule

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value, or that of the other argument."""
        return self.rule.check(name, given[self.other] if value is None else value, given)


@dataclass(frozen=True)
class OrAsArch(Rule):
    """What another rule says; None stands for what the architecture ``arch`` has."""

    rule: Rule

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value, or that of the architecture."""
        return self.rule.check(name, resolve(given['arch']).arguments[name] if value is None else value, given)


@dataclass(frozen=True)
class ArchitectureName(Rule):
    """A name or alias of an architecture of a backbone, see ``models/names.py``.

    Args:
        type (str): The registered backbone.
    """

    type: str

    def check(self, name: str, value: Any, given: Given) -> Any:
        """Return the value."""
        try:
            fits = isinstance(value, str) and resolve(value).type == self.type
        except ValueError:
            fits = False
        if not fits:
            names = ', '.join(repr(row.name) for row in ARCHITECTURES if row.type == self.type)
            refuse(name, value, f'one of {names}, or an alias of one')
        return value


NUMBERS = {1: 'one', 5: 'five'}


def _limit(limit: Any, given: Given) -> Any:
    return limit(given) if callable(limit) else limit
