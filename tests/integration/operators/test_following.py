"""`sidecar status --follow` and `--until-embedded`: progress of index builds, and when they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.integration.operators.healthy import make_healthy
from tests.integration.server.process import ROOT, sidecar_process
from tests.integration.sql.session import Connection, another_session, run, value
from tests.waiting import wait_until

PROGRAM = "from sidecar.cli import main; main()"


@pytest.fixture
def db(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def following(output: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM, "status", *options]
    with output.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_index_build_is_followed_until_its_end(db: Connection, database_url: str, tmp_path: Path) -> None:
    make_healthy(db)
    run(db, "drop index items_e_hnsw_1")
    statement = value(db, "select index_statement from sidecar.status where watch_id = 1")
    output = tmp_path / "output"
    with another_session(database_url, autocommit=False) as writer, another_session(database_url) as builder:
        run(writer, "lock table items in row exclusive mode")  # the build waits for transactions that may write
        building = threading.Thread(target=run, args=(builder, statement))
        building.start()
        try:
            with following(output, "--until-embedded", "items") as process:
                wait_until(lambda: "index: waiting for writers before build" in output.read_text(), output.read_text)
                assert value(db, "select index from sidecar.status where watch_id = 1").startswith("building: waiting")
                assert process.poll() is None, "the index is still missing"
                writer.rollback()
                assert process.wait(20) == 0, output.read_text()
        finally:
            writer.rollback()
            building.join(20)
    assert value(db, "select index from sidecar.status where watch_id = 1") == "public.items_e_hnsw_1"


def test_it_ends_when_all_rows_are_embedded_and_the_index_is_built(db: Connection, tmp_path: Path) -> None:
    run(db, "create table items (id bigint primary key, title text)")
    run(db, "insert into items select i, 'item ' || i from generate_series(1, 50) i")
    run(db, "select sidecar.watch('items', 'title', target => 'e')")
    output = tmp_path / "output"
    arguments = ("-m", "tests.integration.server.program", "hash")
    with (
        following(output, "--until-embedded", "--json") as process,
        sidecar_process(tmp_path, arguments, DATABASE_URL=os.environ["DATABASE_URL"]) as sidecar,
    ):
        assert process.wait(60) == 0, output.read_text() + sidecar.log
        status = run(db, "select embedded, pending, index from sidecar.status")
        sidecar.stop()
        assert sidecar.exit_code() == 0
    assert status == [(50, 0, "public.items_e_hnsw_1")]


def test_it_does_not_wait_for_a_broken_watch(db: Connection, command_line: CommandLine) -> None:
    make_healthy(db)
    run(db, "update sidecar_internal.watches set broken = 'no column' where id = 2")
    outcome = command_line("status", "--until-embedded")
    assert outcome.code == 1
    assert "ERROR: items.v is broken: no column" in outcome.stderr


def test_status_prints_the_statement_with_which_an_owner_builds_the_index(
    db: Connection, command_line: CommandLine
) -> None:
    make_healthy(db)
    run(db, "drop index items_e_hnsw_1")
    text = command_line.succeed("status")
    assert "    index      not built yet\n" in text
    assert "    build      create index concurrently items_e_hnsw_1 on public.items" in text
    assert text.count("    build      ") == 1
