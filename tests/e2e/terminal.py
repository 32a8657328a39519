"""A command in a terminal of its own, as a person sees it."""

from __future__ import annotations

import os
import pty
import signal
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Self

from tests.waiting import wait_until

_TIMEOUT_S = 120.0
_CTRL_C = "\x03"


class Terminal:
    """Runs `command` for the block, and kills it at the end. `output` is what it has printed so far."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        self.output = ""
        self._code: int | None = None
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**os.environ, **(environment or {})})  # noqa: S606
        self._reader = Thread(target=self._read, name="terminal", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._reader.join(_TIMEOUT_S)
        os.close(self._file)

    def await_output(self, text: str) -> None:
        wait_until(lambda: text in self.output or self._ended(), lambda: f"{text!r} in\n{self.output}", _TIMEOUT_S)
        assert text in self.output, self.output

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def press_ctrl_c(self) -> None:
        self.type(_CTRL_C)

    def await_end(self) -> int:
        """Its exit code, once it has ended; negative for a signal. `output` is complete then."""
        wait_until(self._ended, lambda: f"the end of\n{self.output}", _TIMEOUT_S)
        self._reader.join(_TIMEOUT_S)
        assert self._code is not None
        return self._code

    def _ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code is not None

    def _read(self) -> None:
        with suppress(OSError):  # Linux's way to say that the last process has closed it
            while data := os.read(self._file, 65536):
                self.output += data.decode(errors="replace")
