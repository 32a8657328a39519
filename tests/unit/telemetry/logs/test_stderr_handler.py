"""Log lines reach stderr whole, whatever their length and however many processes write."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from sidecar.telemetry.logs import stderr_handler
from sidecar.telemetry.logs.stderr_handler import StderrHandler

LENGTHS = (10, 5_000, 20_000, 150_000)
THREADS, ROUNDS = 3, 4

WRITER = """
import logging, sys, threading
from sidecar.telemetry.logs.stderr_handler import StderrHandler

lengths, threads, rounds, letters = eval(sys.argv[1])
logger = logging.getLogger()
logger.addHandler(StderrHandler())

def write(letter):
    for _ in range(rounds):
        for length in lengths:
            logger.warning(letter * length)

writers = [threading.Thread(target=write, args=(letter,)) for letter in letters]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
"""


@contextmanager
def open_pipe() -> Iterator[tuple[int, TextIO]]:
    """The read end of a pipe, and a stream that writes to it."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        yield read_end, stream
    os.close(read_end)


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("sidecar.test", logging.WARNING, __file__, 1, message, None, None)


def test_lines_of_several_threads_and_processes_stay_whole() -> None:
    """Some lines are longer than a stream's buffer, and than a pipe's capacity."""
    read_end, write_end = os.pipe()
    arguments = [repr((LENGTHS, THREADS, ROUNDS, letters)) for letters in ("abc", "def")]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, each], stderr=write_end) for each in arguments]
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        lines = pipe.read().splitlines()
    assert [writer.wait() for writer in writers] == [0, 0]
    assert Counter(lines) == {letter * length: ROUNDS for letter in "abcdef" for length in LENGTHS}


def test_a_line_is_one_write_however_long(tmp_path: Path) -> None:
    """The log is a file that another process appends to."""
    with (tmp_path / "log").open("a") as stream, (tmp_path / "log").open("ab", buffering=0) as other:
        stream.write("what was there before, ")
        StderrHandler(stream).emit(record("x" * 100_000))
        other.write(b"another's\n")
    assert (tmp_path / "log").read_text() == f"what was there before, {'x' * 100_000}\nanother's\n"


def test_a_full_non_blocking_pipe_is_waited_for() -> None:
    with open_pipe() as (read_end, stream):
        os.set_blocking(stream.fileno(), False)
        emitting = threading.Thread(target=StderrHandler(stream).emit, args=(record("x" * 200_000),))
        emitting.start()
        found = b""
        while not found.endswith(b"\n"):
            found += os.read(read_end, 65536)
        emitting.join()
    assert found == b"x" * 200_000 + b"\n"


def test_a_process_that_never_releases_the_lock_delays_one_line_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped while it wrote."""
    monkeypatch.setattr(stderr_handler, "LOCK_TIMEOUT_S", 0.05)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with open_pipe() as (read_end, stream):
        holder = subprocess.Popen(
            [sys.executable, "-c", "import fcntl; fcntl.lockf(2, fcntl.LOCK_EX); print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        handler = StderrHandler(stream)
        handler.emit(record("one"))
        assert waits
        waits.clear()
        handler.emit(record("two"))
        assert not waits
        assert os.read(read_end, 100) == b"one\ntwo\n"
        holder.communicate(b"\n")
        fcntl.lockf(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
