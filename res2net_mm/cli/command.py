"""How a command ends: what the user can mend becomes one line on stderr and exit code 1."""
from __future__ import annotations

import inspect
import re
import sys
import time
import traceback
from argparse import Namespace
from pathlib import Path
from typing import Any, Callable, NoReturn

from ..utils.errors import UserError
from .device import torch_device

# What a tool that reads a few files and builds a model reports as a message. Training and testing report UserErrors
# alone: anything else that happens in a toolbox deserves its traceback.
TOOL_ERRORS = (UserError, OSError, ValueError, ModuleNotFoundError)


def run_command(run: Callable[..., object], *arguments: Any,
                errors: tuple[type[Exception], ...] = (UserError, )) -> None:
    """Call ``run(*arguments)``; where it raises one of ``errors``, print the message and end with exit code 1.

    So does an argument in a config that its class does not take. With ``debug`` among the arguments of the command
    line, the traceback comes before the message.
    """
    try:
        run(*arguments)
    except Exception as error:
        mistake = mistaken_argument(error)
        if not (mistake or isinstance(error, errors)):
            raise
        if any(getattr(argument, 'debug', False) for argument in arguments):
            traceback.print_exc()
        if mistake:
            fail(mistake)
        if getattr(error, 'is_repeated', False):  # the first process says it; ended before, this one would end it
            time.sleep(1)
            sys.exit(1)
        fail(error_message(error))


def run_tool(run: Callable[[Namespace, Any], object], args: Namespace) -> None:
    """Call ``run(args, device)`` with the torch.device of ``--device``; every one of TOOL_ERRORS is a message."""
    run_command(lambda args: run(args, torch_device(args.device)), args, errors=TOOL_ERRORS)


def mistaken_argument(error: Exception) -> str | None:
    """What is wrong with a config that gives a class an argument which it does not take; None for any other error."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not (found and isinstance(error, TypeError)):
        return None
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        # mmengine's registry, or its Runner, which builds the loop of by_epoch=True itself
        known = frame.f_locals
        kind = known.get('obj_cls') or frame.f_globals.get(found[1])
        local = {'build_from_cfg': 'args', 'build_train_loop': 'loop_cfg'}.get(frame.f_code.co_name)
        given = known.get(local) if local else None
        if given and found[2] in given and inspect.isclass(kind):
            from ..models.layers.argument_names import describe_unknown  # a message of a missing file needs no torch
            names = argument_names(kind)
            advice = describe_unknown({found[2]: given[found[2]]}, names, {})
            return (f'the config gives {kind.__name__} an argument that it does not take: {advice}'
                    + ('' if advice.endswith('?') else f'. It takes {", ".join(names)}'))
    return None


def argument_names(kind: type) -> list[str]:
    """The arguments of a class and of those that it inherits from, which it may hand its own to."""
    parameters = [parameter for base in kind.__mro__ if inspect.isfunction(vars(base).get('__init__'))
                  for parameter in list(inspect.signature(vars(base)['__init__']).parameters.values())[1:]]
    return list(dict.fromkeys(parameter.name for parameter in parameters if parameter.kind not in (
        inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)))


def error_message(error: Exception) -> str:
    """The message of an error, without the traceback that PyTorch puts before one of a process that loads data."""
    text = str(error)
    return text.rpartition(f'{type(error).__name__}: ')[2].strip() if text.startswith('Caught ') else text


def fail(message: object) -> NoReturn:
    """End the process with ``PROGRAM: error: MESSAGE`` on stderr and exit code 1."""
    sys.exit(f'{Path(sys.argv[0]).name}: error: {message}')
