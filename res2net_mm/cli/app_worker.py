"""The process that runs the models of the page: it can be stopped when an image takes too long, and its end is not
the page's."""
from __future__ import annotations

import signal
import threading
import traceback
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Callable

from ..utils.errors import UserError
from .command import TOOL_ERRORS

STOPPED = 'the process that runs the models has ended, as it does when it needs more memory than there is; try a ' \
          'smaller image or model'


class Worker:
    """One process, which answers one request after another.

    Args:
        start (Callable): Called once in the process, without arguments. It returns the function that answers requests,
            and what ``started`` shall be. It is pickled, as are requests and answers.
        seconds (float): The most that an answer may take; then the process is killed, and the next request starts
            another. Starting is not limited.

    Attributes:
        started (Any): What ``start`` returned beside the function.

    Raises:
        UserError: If ``start`` raises one of ``TOOL_ERRORS``, with its message.
    """

    def __init__(self, start: Callable[[], tuple[Callable, Any]], seconds: float) -> None:
        self.start, self.seconds = start, seconds
        self._lock = threading.Lock()
        self._process: Any = None
        self.started: Any = None
        self._launch()

    def __call__(self, request: Any) -> Any:
        """The answer to a request.

        Raises:
            UserError: If the request fails, takes too long, or ends the process; the message says which.
        """
        with self._lock:
            if self._process is None or not self._process.is_alive():
                self.close()
                self._launch()
            with suppress(ConnectionError):  # it has ended just now, which reading finds out
                self._connection.send(request)
            if not self._connection.poll(self.seconds):
                self.close()
                raise UserError(f'this took more than {self.seconds:g} seconds, and was stopped; try a smaller image '
                                'or model (--seconds of the command allows more)')
            return self._receive()

    def close(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _launch(self) -> None:
        context = get_context('spawn')  # a fork would copy threads' locks
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(self.start, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.started = self._receive()

    def _receive(self) -> Any:
        try:
            failed, answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self.close()
            raise UserError(STOPPED) from error
        if failed:
            raise UserError(answer)
        return answer


def serve(start: Callable[[], tuple[Callable, Any]], connection: Connection) -> None:
    """What the process does: start, say so, then answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the command, which ends this
    failed, started = attempt(start)
    connection.send((failed, started if failed else started[1]))
    while not failed:
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(attempt(started[0], request))


def attempt(compute: Callable, *arguments: Any) -> tuple[bool, Any]:
    """Whether a function fails, and what it returns, or the message of its error."""
    try:
        return False, compute(*arguments)
    except TOOL_ERRORS as error:
        return True, str(error)
    except Exception as error:  # a bug, which the terminal shows whole, and the page in a line
        traceback.print_exc()
        return True, f'the model failed, and the terminal shows where: {type(error).__name__}: {error}'
