"""Runs `sidecar demo` as a process, as `make run` does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.ports import find_free_port
from tests.waiting import wait_until

# Importing torch alone takes 20 s on a busy machine, and embedding every row 60 s more.
START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 10.0


class Demo:
    """A running demo. `output` is what the process has printed so far."""

    def __init__(self, process: psutil.Popen, data_dir: Path, port: int, output_path: Path) -> None:
        self.data_dir = data_dir
        self.port = port
        self.service_url = f"http://127.0.0.1:{port}"
        self._process = process
        self._output_path = output_path

    @property
    def output(self) -> str:
        return self._output_path.read_text()

    @property
    def database_url(self) -> str:
        return self._url_file.read_text().strip()

    @property
    def commands(self) -> list[str]:
        """The commands that it suggests to type next."""
        lines = self.output.partition("Type next")[2].partition("The model is")[0].splitlines()
        return [line.strip() for line in lines if line.startswith("    ")]

    @property
    def env_file(self) -> Path:
        return self.data_dir / "env"

    @property
    def _url_file(self) -> Path:
        return self.data_dir / "database_url"

    def await_ready(self) -> None:
        """Waits until every row is embedded."""
        self._wait_for(lambda: "Ctrl-C here ends everything" in self.output, "the demo to be ready")

    def await_answers(self) -> None:
        """Waits until searches find something, while rows are still being embedded."""
        self._wait_for(lambda: "Type next" in self.output, "the demo to answer searches")

    def await_postgres(self) -> None:
        """Waits until its Postgres has schema and example."""
        self._wait_for(lambda: "both watched" in self.output, "the demo's Postgres")

    def end(self, number: signal.Signals) -> int:
        """Sends the signal and returns the exit code. Fails unless all its processes are gone within ten seconds."""
        everything = [self._process, *self._process.children(recursive=True)]
        assert len(everything) > 3, everything  # at least Postgres's shell, Postgres and its workers
        self._process.send_signal(number)
        code: int = self._process.wait(STOP_TIMEOUT_S)
        _, alive = psutil.wait_procs(everything, STOP_TIMEOUT_S)
        assert not alive, alive
        return code

    def _wait_for(self, condition: object, what: str) -> None:
        assert callable(condition)
        wait_until(
            lambda: condition() or self._process.poll() is not None, lambda: f"{what}\n{self.output}", START_TIMEOUT_S
        )
        assert self._process.poll() is None, self.output


def sidecar_command() -> str:
    """The path of the console script, beside the interpreter."""
    return str(Path(sys.executable).with_name("sidecar"))


@contextmanager
def demo_process(data_dir: Path, *arguments: str, **variables: str) -> Iterator[Demo]:
    """A demo that is killed with its Postgres at the end of the block. A picture has one view, to be quick."""
    port = find_free_port()
    output_path = data_dir.with_name(f"output-{port}.log")
    with output_path.open("wb") as output:
        process = psutil.Popen(
            [sidecar_command(), "demo", "--port", str(port), "--data-dir", str(data_dir), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DECODE_PROCESSES": "1", "ENABLE_MULTI_SCALE": "0", **variables},
        )
    try:
        yield Demo(process, data_dir, port, output_path)
    finally:
        if process.poll() is None:
            everything = [process, *process.children(recursive=True)]
            process.kill()
            psutil.wait_procs(everything, STOP_TIMEOUT_S)
