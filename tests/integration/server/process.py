"""A sidecar in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ports import find_free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]


class Process:
    """A running process; `log` is its standard output and error so far."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
        self.url = url
        self._process = process
        self._log_path = log_path

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def ask(self, path: str) -> int | None:
        """The status of a GET; None while nothing listens."""
        try:
            return httpx.get(f"{self.url}{path}", timeout=5).status_code
        except httpx.TransportError:
            return None

    def await_ready(self, timeout_s: float = 60) -> None:
        wait_until(lambda: self.ask("/readyz") == 200, lambda: f"/readyz\n{self.log}", timeout_s)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def exit_code(self, timeout_s: float = 30) -> int:
        """Negative: killed by that signal."""
        return self._process.wait(timeout_s)


@contextmanager
def sidecar_process(directory: Path, arguments: Sequence[str], **environment: str) -> Iterator[Process]:
    """`python ARGUMENTS`, on a free port, with SHUTDOWN_TIMEOUT_S=4 unless said otherwise. Killed at the end."""
    port = find_free_port()
    log_path = directory / "sidecar.log"
    settings = {"BIND_PORT": str(port), "DECODE_PROCESSES": "1", "SHUTDOWN_TIMEOUT_S": "4"}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(argument.format(port=port) for argument in arguments)],
            cwd=ROOT,
            env={**os.environ, **settings, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Process(process, f"http://127.0.0.1:{port}", log_path)
    finally:
        process.kill()
        process.wait()
