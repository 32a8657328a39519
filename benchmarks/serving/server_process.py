"""Servers in separate processes on their own cores, and their memory and CPU time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.serving.device import DeviceRecord
from sidecar.settings import MIB
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[2]
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Directory and device of the servers of a run.

    `batch_ms` None: the demo's model on the CPU instead of the timed device. `view_ms`: what each text or view adds.
    `pinned`: the client has its own core. `devices`: timed ones in each server.
    `instant_dimensions`: the dimensions of a device that takes no time, instead of either.
    """

    directory: Path
    batch_ms: float | None
    pinned: bool = True
    instant_dimensions: int | None = None
    view_ms: float = 0.0
    devices: int = 1

    @property
    def is_timed(self) -> bool:
        return self.batch_ms is not None


class ServerProcess:
    """A running server; `record` is that of its device."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, record: DeviceRecord) -> None:
        self.port = port
        self.record = record
        self._process = psutil.Process(process.pid)

    def resident_mib(self) -> float:
        return float(self._process.memory_info().rss) / MIB

    def cpu_s(self) -> float:
        """CPU time of the process itself, without its decoders."""
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def server_process(bench: Bench, server: str, **settings: Any) -> Iterator[ServerProcess]:
    """Run a server (servers.py) until the end of the block; `settings` are fields of Settings. Yields once ready."""
    port = _free_port()
    record = bench.directory / f"device-{port}"
    options = {
        "server": server,
        "batch_ms": bench.batch_ms,
        "instant_dimensions": bench.instant_dimensions,
        "view_ms": bench.view_ms,
        "devices": bench.devices,
        "record": str(record),
        "cores": _server_cores() if bench.pinned else [],
        "settings": {
            "vision_model_id": "demo" if bench.batch_ms is None else "timed",
            "require_cuda": False,
            "log_level": "WARNING",
            "decode_processes": 1,
            "bind_host": "127.0.0.1",
            "bind_port": port,
            **settings,
        },
    }
    log_path = bench.directory / f"{server}-{port}.log"
    counters = DeviceRecord(record)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving.servers", orjson.dumps(options).decode()],
            cwd=_ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: _is_ready(port, server) or process.poll() is not None, "a server to be ready", _START_TIMEOUT_S
        )
        if process.poll() is not None:
            raise RuntimeError(f"The server ended at once:\n{log_path.read_text()}")
        yield ServerProcess(process, port, counters)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def client_core(bench: Bench) -> Iterator[None]:
    """Pin this process to the first core, if the system supports it; the servers have the others."""
    if not (bench.pinned and _server_cores()):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _server_cores() -> list[int]:
    """All cores but the first; empty if there is only one, or if processes cannot be pinned."""
    return sorted(range(os.cpu_count() or 1))[1:] if hasattr(os, "sched_setaffinity") else []


def _is_ready(port: int, server: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if server == "canned":
                return True
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
