"""How a command ends: what the user can mend becomes one line on stderr and exit code 1."""
from __future__ import annotations

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

    With ``debug`` among the arguments of the command line, the traceback comes before the message.
    """
    try:
        run(*arguments)
    except errors as error:
        if any(getattr(argument, 'debug', False) for argument in arguments):
            traceback.print_exc()
        if getattr(error, 'is_repeated', False):  # the first process says it; ended before, this one would end it
            time.sleep(1)
            sys.exit(1)
        fail(error_message(error))


def run_tool(run: Callable[[Namespace, Any], object], args: Namespace) -> None:
    """Call ``run(args, device)`` with the torch.device of ``--device``; every one of TOOL_ERRORS is a message."""
    run_command(lambda args: run(args, torch_device(args.device)), args, errors=TOOL_ERRORS)


def error_message(error: Exception) -> str:
    """The message of an error, without the traceback that PyTorch puts before one of a process that loads data."""
    text = str(error)
    return text.rpartition(f'{type(error).__name__}: ')[2].strip() if text.startswith('Caught ') else text


def fail(message: object) -> NoReturn:
    """End the process with ``PROGRAM: error: MESSAGE`` on stderr and exit code 1."""
    sys.exit(f'{Path(sys.argv[0]).name}: error: {message}')
