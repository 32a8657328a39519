"""A terminal of a given width as stdout of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from select import select

import pytest


class Terminal:
    """What was printed to it; colours are escape sequences."""

    def __init__(self, master: int) -> None:
        self._master = master

    def read(self) -> str:
        """All that was printed since the last call."""
        sys.stdout.flush()
        printed = b""
        while select([self._master], [], [], 0)[0]:
            printed += os.read(self._master, 1 << 16)
        return printed.decode().replace("\r\n", "\n")

    def lines(self) -> list[str]:
        return self.read().splitlines()


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int, **environment: str) -> Iterator[Terminal]:
    """Without colours, unless `environment` says otherwise. Output of more than 4 KB would block it."""
    master, slave = os.openpty()
    with monkeypatch.context() as patch, os.fdopen(slave, "w", encoding="utf-8") as stdout:
        patch.setattr(sys, "stdout", stdout)
        for name, value in {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1", **environment}.items():
            patch.setenv(name, value)
        patch.delenv("FORCE_COLOR", raising=False)
        yield Terminal(master)
    os.close(master)
