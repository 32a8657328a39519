"""The exit of the process, with threads still running: by a deadline, or at once."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

logger = logging.getLogger(__name__)

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 2

_DEADLINE_THREAD = "exit-deadline"
_LOADING_THREADS = {"model-loading", "rerank-model-loading"}  # nothing is lost when they are cut off

_INTERPRETER_S = 1.0  # later: faulthandler's own thread works even while a library holds the GIL


class ExitDeadline:
    """Once started, exits the process with `exit_code()` after `timeout_s`, unless it has exited by itself.

    Things that may not end in time: a thread that tokenises, a device that hangs, a library that waits for its threads
    at exit, a frozen database. All of them survive being cut off, as they survive a killed process. `clean_up` is
    called before the exit, in a thread of its own.
    """

    def __init__(
        self, timeout_s: float, exit_code: Callable[[], int], clean_up: Callable[[], None] = lambda: None
    ) -> None:
        self._timeout_s = timeout_s
        self._exit_code = exit_code
        self._clean_up = clean_up
        self._cancelled = threading.Event()
        self._started = False

    def start(self) -> None:
        """Starts the clock. Further calls change nothing."""
        if self._started:
            return
        self._started = True
        atexit.register(faulthandler.cancel_dump_traceback_later)  # the interpreter is exiting by itself then
        faulthandler.dump_traceback_later(self._timeout_s + _INTERPRETER_S, exit=True, file=sys.__stderr__ or 2)
        threading.Thread(target=self._run, name=_DEADLINE_THREAD, daemon=True).start()

    def cancel(self) -> None:
        """Cancels the deadline, because the process stops in time."""
        self._cancelled.set()
        if self._started:
            faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        if self._cancelled.wait(self._timeout_s):
            return
        faulthandler.cancel_dump_traceback_later()
        logger.warning("Some work did not finish within SHUTDOWN_TIMEOUT_S (%g s) and is cut off.", self._timeout_s)
        try:
            self._clean_up()
        finally:
            logging.shutdown()
            os._exit(self._exit_code())


def exit_despite_threads(exit_code: int) -> NoReturn:
    """Exits at once, even with threads still running, such as one that hangs in the device's driver.

    The interpreter's own exit waits for some threads, runs handlers of libraries, which may wait for the device, and
    takes seconds to free what was loaded, so that no deadline could be kept.
    """
    others = (thread for thread in threading.enumerate() if thread is not threading.current_thread())
    if running := {thread.name for thread in others if thread.name != _DEADLINE_THREAD}:
        level = logging.INFO if running <= _LOADING_THREADS else logging.WARNING
        logger.log(level, "Ended without waiting for %s.", ", ".join(sorted(running)))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)
