"""Arguments that a class does not have: what to write in place of what other libraries call them."""
from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any, Mapping

# What is said of an argument that the ResNets of the toolboxes have and our backbones have not; {value} is the given
# one. Whoever changes only the type of a backbone meets these.
REPLACED_OF_BACKBONES = {
    'pretrained': "weights are given as init_cfg=dict(type='Pretrained', checkpoint='res2net_mm://res2net50_26w4s'), or "
                  'another name of docs/weights.md',
}


def bind_arguments(init: inspect.Signature, model: Any, args: tuple, kwargs: Mapping[str, Any],
                   replaced: Mapping[str, str]) -> inspect.BoundArguments:
    """Bind the arguments of a call of an ``__init__``.

    Args:
        init (inspect.Signature): Its signature, with ``self``.
        model (Any): The object that is made; the name of its class stands in messages.
        args (tuple): The positional arguments.
        kwargs (dict): The keyword arguments.
        replaced (dict[str, str]): Names that other libraries have, and what to do instead.

    Returns:
        inspect.BoundArguments: All that were given.

    Raises:
        TypeError: If they do not fit; the message names all that are unknown, and what is meant or replaces them.
    """
    names = list(init.parameters)[1:]
    name = type(model).__name__
    unknown = [describe_unknown(key, value, names, replaced) for key, value in kwargs.items() if key not in names]
    if unknown:
        raise TypeError(f'{name} has no argument {"; and no ".join(unknown)}. It takes {", ".join(names)}')
    try:
        return init.bind(model, *args, **kwargs)
    except TypeError as error:
        raise TypeError(f'{name}: {error}') from None


def describe_unknown(name: str, value: object, names: list[str], replaced: Mapping[str, str]) -> str:
    """Say of an unknown argument what to do: 'NAME (NAME=VALUE): ...'.

    Args:
        name (str): The argument.
        value (object): What was given.
        names (list[str]): The arguments that there are.
        replaced (dict[str, str]): As for ``bind_arguments``.
    """
    given = f'{name!r} ({name}={value!r:.100})'
    if name in replaced:
        return f'{given}: take it out; ' + replaced[name].format(value=repr(value))
    near = get_close_matches(name, names, n=3)
    return f'{given}: did you mean {" or ".join(near)}?' if near else given
