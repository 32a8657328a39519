"""The port of the demo's Postgres: the same at every start, and never one that another program has."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.demo.directory import DemoDirectory, open_directory
from sidecar.demo.postgres_port import DEFAULT_PORT, PostgresPortTaken, start_postgres
from tests.ports import find_free_port
from tests.servers import open_directory as open_server_directory


@pytest.fixture
def directory() -> Iterator[DemoDirectory]:
    with open_server_directory() as parent, open_directory(parent / "data") as directory:
        yield directory


def start(directory: DemoDirectory, version: str, wanted: int | None = None) -> tuple[int, list[str]]:
    """The port on which it started, and what was said."""
    said: list[str] = []
    postgres = start_postgres(directory, version, wanted, said.append)
    try:
        return int(postgres.url.rpartition(":")[2].partition("/")[0]), said
    finally:
        postgres.stop()


def test_the_port_is_kept_and_one_that_another_program_has_by_now_is_refused(
    directory: DemoDirectory, postgres_version: str
) -> None:
    wanted = find_free_port()
    assert start(directory, postgres_version, wanted) == (wanted, [])
    assert start(directory, postgres_version) == (wanted, [])
    with socket.create_server(("127.0.0.1", wanted)):
        expected = (
            rf"port {wanted} of 127.0.0.1, .* in use by .*\(process {os.getpid()}\).\nHINT: .* --postgres-port \d+$"
        )
        with pytest.raises(PostgresPortTaken, match=expected):
            start(directory, postgres_version)
        assert directory.kept_port == wanted
    assert start(directory, postgres_version) == (wanted, [])


def test_a_new_directory_gets_the_next_port_if_the_default_one_is_taken(
    directory: DemoDirectory, postgres_version: str
) -> None:
    try:
        holder = socket.create_server(("127.0.0.1", DEFAULT_PORT))
    except OSError:  # a demo runs on this machine: as good
        holder = socket.socket()
    with holder:
        port, said = start(directory, postgres_version)
    assert port > DEFAULT_PORT
    assert len(said) >= 1
    assert said[0].startswith(f"Port {DEFAULT_PORT} is in use by ")
    assert directory.kept_port == port


def test_a_server_that_does_not_start_for_another_reason_is_not_tried_on_other_ports(
    directory: DemoDirectory, postgres_version: str, tmp_path: Path
) -> None:
    directory.postgres.mkdir()
    directory.postgres.chmod(0o755)
    (directory.postgres / "cluster").mkdir()
    (directory.postgres / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(Exception, match="holds the data of PostgreSQL 17"):
        start(directory, postgres_version)
    assert directory.kept_port is None
