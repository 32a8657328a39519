"""The end of the process at a given time, whatever is going on in it."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

DEADLINE_THREAD = "exit-deadline"

_INTERPRETER_S = 1.0  # a library that does not let go of the interpreter holds up our thread too, but not the system's


class ExitDeadline:
    """Once started, ends the process after `timeout_s` unless it has ended by itself, with `exit_code()`.

    What might not end: a thread that tokenises, a device that hangs, a library that waits for its threads at exit, a
    database that is frozen. All of them are safe to be cut off: so is a process that is killed. `clean_up` is called
    before, in a thread of its own.
    """

    def __init__(
        self, timeout_s: float, exit_code: Callable[[], int], clean_up: Callable[[], None] = lambda: None
    ) -> None:
        self._timeout_s = timeout_s
        self._exit_code = exit_code
        self._clean_up = clean_up
        self._over = threading.Event()
        self._started = False

    def start(self) -> None:
        """May be repeated; the first time counts."""
        if self._started:
            return
        self._started = True
        atexit.register(faulthandler.cancel_dump_traceback_later)  # the interpreter ends by itself then
        faulthandler.dump_traceback_later(self._timeout_s + _INTERPRETER_S, exit=True, file=sys.__stderr__ or 2)
        threading.Thread(target=self._run, name=DEADLINE_THREAD, daemon=True).start()

    def call_off(self) -> None:
        """The process ends in its own time."""
        self._over.set()
        if self._started:
            faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        if self._over.wait(self._timeout_s):
            return
        faulthandler.cancel_dump_traceback_later()
        logger.warning("Not all has ended within SHUTDOWN_TIMEOUT_S (%g s); it is cut off.", self._timeout_s)
        try:
            self._clean_up()
        finally:
            logging.shutdown()
            os._exit(self._exit_code())
