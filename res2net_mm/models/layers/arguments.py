"""Rules for constructor arguments, and the decorator that has them checked.

A model lists one rule for every argument of its ``__init__``. Read from top to bottom they say what is allowed::

    RULES = dict(
        depth=OneOf(50, 101),
        num_stages=Integer(1, 4),
        strides=Integers(Integer(1), length=lambda arguments: arguments['num_stages']),
        norm_cfg=LayerConfig(),
    )

    class Net(nn.Module):

        @checked(RULES)
        def __init__(self, depth=50, num_stages=4, strides=(1, 2, 2, 2), norm_cfg=BN): ...

Where a limit depends on other arguments, it is a function of all arguments, of which those further up are checked. A
value that breaks a rule is a ValueError with the names of the model and the argument, the value, and what is allowed.
"""
from __future__ import annotations

import functools
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, TypeVar, Union

from .argument_names import bind_arguments
from .refusal import ArgumentError, limited_size, refuse

Arguments = Dict[str, Any]  # all arguments of a call by name
Limit = Union[int, Callable[[Arguments], int]]
MOST = 2**31 - 1  # of any integer, as in PyTorch's kernels
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, on Linux
Init = TypeVar('Init', bound=Callable[..., None])


def checked(rules: Mapping[str, Rule], replaced: Mapping[str, str] | None = None) -> Callable[[Init], Init]:
    """Have the arguments of an ``__init__`` checked by rules, top to bottom, before it runs.

    Args:
        rules (dict[str, Rule]): A rule for every argument, by name. What a rule returns is passed on in place of the
            value: an argument whose None stands for something arrives as that.
        replaced (dict[str, str]): What to write for arguments of other libraries, by name. Defaults to None.

    Raises:
        TypeError: From ``__init__``, if there is no such argument; the message says what is meant or replaces it.
        ValueError: From ``__init__``, if an argument breaks its rule, or a layer cannot be built from its config.
    """

    def decorate(init: Init) -> Init:
        signature = inspect.signature(init)

        @functools.wraps(init)
        def checked_init(self: Any, *args: Any, **kwargs: Any) -> None:
            bound = bind_arguments(signature, self, args, kwargs, replaced or {})
            given = dict(bound.arguments)
            bound.apply_defaults()
            arguments = bound.arguments
            try:
                for name, rule in rules.items():
                    arguments[name] = rule.check(name, arguments[name], arguments)
                with limited_size(given):
                    init(*bound.args, **bound.kwargs)
            except ArgumentError as error:
                raise ValueError(f'{type(self).__name__}: {error}') from error

        return checked_init  # type: ignore[return-value]

    return decorate


class Rule:
    """A rule for one argument."""

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value to use.

        Args:
            name (str): The argument; of an element of a sequence with its index, 'strides[2]'.
            value (Any): Its value.
            arguments (dict): All arguments of the call by name; those with a rule further up are checked.

        Raises:
            ArgumentError: If the value is not allowed.
        """
        raise NotImplementedError


class Anything(Rule):
    """Any value, for what is tried out later."""

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        return value


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
    where: Callable[[int, Arguments], bool] | None = None
    what: str | Callable[[Arguments], str] = ''

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if type(value) is str and value in self.words:
            return value
        low, high = resolve_limit(self.low, arguments), resolve_limit(self.high, arguments)
        if high is None and type(value) is int and value > MOST:
            high = MOST
        if type(value) is not int or value < low or (high is not None and value > high):
            allowed = f'an integer of at least {low}' if high is None else f'an integer from {low} to {high}'
            refuse(name, value, ' or '.join([allowed, *map(repr, self.words)]))
        if self.where and not self.where(value, arguments):
            refuse(name, value, self.what(arguments) if callable(self.what) else self.what)
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

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        length = resolve_limit(self.length, arguments)
        number = f'{NUMBERS[self.at_least]} or more' if length is None else str(length)
        wrong_length = isinstance(value, (tuple, list)) and (
            len(value) < self.at_least if length is None else len(value) != length)
        if not isinstance(value, (tuple, list)) or wrong_length:
            refuse(name, value, f'a sequence of {number} integers')
        for i, element in enumerate(value):
            self.element.check(f'{name}[{i}]', element, arguments)
        if self.distinct and len(set(value)) < len(value):
            refuse(name, value, 'a sequence in which none occurs twice')
        return value


@dataclass(frozen=True)
class Number(Rule):
    """A number from ``low`` to ``high``; with ``below``, less than ``high``."""

    low: float
    high: float
    below: bool = False

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high or (
                self.below and value == self.high):
            refuse(name, value, f'a number from {self.low} to {"less than " if self.below else ""}{self.high}')
        return value


@dataclass(frozen=True)
class Text(Rule):
    """A text; as the name of a ``file`` also a path."""

    file: bool = False

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if not isinstance(value, (str, Path) if self.file else str) or '\0' in str(value):
            refuse(name, value, 'the name of a file or folder, a text' if self.file else 'a text')
        if self.file and '://' not in str(value) and not is_path(str(value)):
            refuse(name, value, f'the name of a file or folder, of {LONGEST_PATH} bytes at most, {LONGEST_NAME} of '
                   'them between two slashes')
        return value


def is_path(text: str) -> bool:
    """Whether a file system could have a file of this name."""
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return len(path) <= LONGEST_PATH and max(map(len, path.split(b'/'))) <= LONGEST_NAME


@dataclass(frozen=True)
class SequenceOf(Rule):
    """A tuple or list, each of whose elements fits a rule, of ``at_least`` so many; ``what`` says of what."""

    element: Rule
    what: str
    at_least: int = 0

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if not isinstance(value, (tuple, list)) or len(value) < self.at_least:
            refuse(name, value, f'a sequence of {self.what}')
        for i, element in enumerate(value):
            self.element.check(f'{name}[{i}]', element, arguments)
        return value


class Settings(Rule):
    """A dict with some keys at most, each with a rule for its value; without any, a dict of what there may be."""

    def __init__(self, **rules: Rule) -> None:
        self.rules = rules

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        if not isinstance(value, dict) or (self.rules and not self.rules.keys() >= value.keys()):
            refuse(name, value, f'a dict of {", ".join(self.rules)}' if self.rules else 'a dict')
        for key, rule in self.rules.items():
            if key in value:
                rule.check(f'{name}.{key}', value[key], arguments)
        return value


class OneOf(Rule):
    """One of some values, of the same type too: neither 1 for True nor 4.0 for 4."""

    def __init__(self, *choices: str | int | bool) -> None:
        self.choices = choices

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
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

    length: int | Callable[[Arguments], int | None]

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        length = resolve_limit(self.length, arguments)
        if not isinstance(value, (tuple, list)) or not all(type(flag) is bool for flag in value) or (
                length is not None and len(value) != length):
            refuse(name, value, f'{"a sequence" if length is None else length} of True and False, one for each stage')
        return value


@dataclass(frozen=True)
class OrNone(Rule):
    """None, or what another rule says."""

    rule: Rule

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value."""
        return None if value is None else self.rule.check(name, value, arguments)


@dataclass(frozen=True)
class OrSameAs(Rule):
    """What another rule says; None stands for the value of another argument."""

    other: str
    rule: Rule

    def check(self, name: str, value: Any, arguments: Arguments) -> Any:
        """Return the value, or that of the other argument."""
        return self.rule.check(name, arguments[self.other] if value is None else value, arguments)


NUMBERS = {1: 'one', 5: 'five'}


def resolve_limit(limit: Any, arguments: Arguments) -> Any:
    """The value of a limit, which may be a function of all arguments."""
    return limit(arguments) if callable(limit) else limit
