"""A log handler that writes each line to stderr whole, even if other processes share it.

A stream splits a line longer than its buffer (8 KiB) into several writes, and a pipe is atomic only up to 4 KiB. So a
line is one write, under a file lock that other processes with the same stderr (`uvicorn --workers`) take too.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOCK_TIMEOUT_S, LOCK_RETRY_S = 2.0, 0.001
LOCK_SUSPENSION_S = 60.0  # without locks after a timeout: a stopped process that holds the lock delays one line only
FULL_TIMEOUT_S = 5.0  # for a non-blocking stream whose reader is slow


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the file descriptor, past the stream's buffer; through the stream if it has none, as in tests."""

    _next_lock_at = float("-inf")  # on the clock of time.monotonic

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock, one thread at a time."""
        try:
            line = self.format(record) + self.terminator
            try:
                descriptor = self.stream.fileno()
            except (OSError, AttributeError):
                self.stream.write(line)
                self.flush()
            else:
                self.flush()
                with self._locked(descriptor):
                    _write(descriptor, line.encode(self.stream.encoding or "utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001 - as in logging: a failing log line must not fail the work it reports
            self.handleError(record)

    @contextmanager
    def _locked(self, descriptor: int) -> Iterator[None]:
        """Excludes other processes for the block; without effect on files that have no locks, such as terminals."""
        locked = time.monotonic() >= self._next_lock_at and self._lock(descriptor)
        try:
            yield
        finally:
            if locked:
                fcntl.lockf(descriptor, fcntl.LOCK_UN)

    def _lock(self, descriptor: int) -> bool:
        give_up_at = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in {errno.EACCES, errno.EAGAIN} and time.monotonic() < give_up_at:
                    time.sleep(LOCK_RETRY_S)
                    continue
                self._next_lock_at = time.monotonic() + LOCK_SUSPENSION_S
                return False
            return True


def _write(descriptor: int, line: bytes) -> None:
    left = memoryview(line)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            if not select.select([], [descriptor], [], FULL_TIMEOUT_S)[1]:
                raise
