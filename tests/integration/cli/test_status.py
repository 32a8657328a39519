"""`sidecar status` and `sidecar status --follow`"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.command_line import CommandLine
from tests.integration.cli.conftest import Db, fail_rows, parse
from tests.integration.server.process import ROOT, sidecar_process
from tests.terminal import terminal
from tests.waiting import wait_until


def test_without_a_watch_status_shows_how_to_start(db: Db, command_line: CommandLine) -> None:
    assert "sidecar watch" in command_line.succeed("status")
    assert parse(command_line.succeed("status", "--json")) == []


def test_status_shows_every_watch(watched: Db, command_line: CommandLine) -> None:
    fail_rows(watched, not_a_picture=2)
    text = command_line.succeed("status")
    summary = "No sidecar is running, so nothing is embedded: 2 rows are pending, 1 row has failed."
    assert text.splitlines()[:3] == [summary, "", "products.e: no sidecar is running"]
    assert "3: 0 embedded (0 %), 2 pending" in text
    assert "    failed     1 row: sidecar failures products --target e\n" in text
    (watch,) = parse(command_line.succeed("status", "products", "--exact", "--json"))
    assert (watch["rows"], watch["pending"], watch["failed"], watch["estimated"]) == (3, 2, 1, False)


def test_status_is_a_table_of_chosen_columns(watched: Db, command_line: CommandLine) -> None:
    fail_rows(watched, not_a_picture=2)
    text = command_line.succeed("status", "--columns", "relation,target,pending,failed")
    assert text == "relation\ttarget\tpending\tfailed\nproducts\te\t2\t1\n"


@pytest.mark.parametrize("columns", [60, 80, 150])
def test_status_fits_the_terminal_and_keeps_commands_whole(
    watched: Db, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    fail_rows(watched, not_a_picture=2)
    with terminal(monkeypatch, columns) as screen:
        command_line("status")
        lines = screen.lines()
    assert all(len(line) <= columns for line in lines if not line.endswith(";"))
    assert any("sidecar failures products --target e" in line for line in lines)


def test_status_of_a_table_shows_its_watches_only(watched: Db, command_line: CommandLine) -> None:
    watched.execute("create table other (id bigint primary key, title text)")
    watched.execute("select sidecar.watch('other', source => 'title')")
    assert len(parse(command_line.succeed("status", "--json"))) == 2
    assert [watch["relation"] for watch in parse(command_line.succeed("status", "other", "--json"))] == ["other"]


def test_while_all_rows_are_embedded_again_none_counts_as_done(watched: Db, command_line: CommandLine) -> None:
    _embed(watched, 1, 2, 3)
    assert "3: 3 embedded (100 %), 0 pending" in command_line.succeed("status")
    watched.execute("select sidecar.reembed('products')")
    text = command_line.succeed("status")
    assert "3: 0 embedded (0 %), 3 pending (searches use their former vectors until then)" in text


def test_texts_that_the_model_reads_in_part_are_counted_and_listed(watched: Db, command_line: CommandLine) -> None:
    nothing = command_line("texts", "products", "--truncated")
    assert (nothing.stdout, nothing.stderr) == ("key\tembedded_at\n", "No text is longer than the model reads.\n")
    _embed(watched, 1, 2, 3)
    watched.execute("update sidecar_internal.ledger_1 set truncated = k1 < 3, unreadable = k1 = 3")
    text = command_line.succeed("status")
    for line in (
        "truncated  2 texts are longer than the model reads: sidecar texts products --target e --truncated",
        "unreadable 1 text is in words that the model does not know: sidecar texts products --target e --unreadable",
    ):
        assert f"    {line}\n" in text
    assert [row["key"] for row in parse(command_line.succeed("texts", "products", "--truncated", "--json"))] == [
        {"id": 1},
        {"id": 2},
    ]
    assert '{"id": 3}' in command_line.succeed("texts", "products", "--unreadable")
    assert "give one of the two" in command_line("texts", "products").stderr


def _embed(db: Db, *keys: int) -> None:
    """Records vectors of rows in watch 1, as a sidecar would."""
    db.execute("update sidecar_internal.scans set finished_at = now()")
    db.execute("delete from sidecar_internal.events_1")
    db.execute(
        "insert into sidecar_internal.ledger_1 (k1, gen, content_hash, vector_digest) "
        "select k, nextval('sidecar_internal.generation'), decode(repeat('00', 32), 'hex'), "
        "decode(repeat('00', 32), 'hex') from unnest(%s::bigint[]) k",
        [list(keys)],
    )


# Restores Ctrl-C: a shell that runs the tests in the background has its children ignore SIGINT.
_PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sidecar.cli import main
main()
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_follow_shows_progress_until_ctrl_c(watched: Db, database_url: str, tmp_path: Path, as_json: bool) -> None:
    command = [sys.executable, "-c", _PROGRAM, "status", "--follow", *(["--json"] if as_json else [])]
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as following,
    ):
        try:
            wait_until(lambda: "no sidecar is running" in output.read_text(), "the first state")
            with sidecar_process(
                tmp_path, ("-m", "tests.integration.server.program", "hash"), DATABASE_URL=os.environ["DATABASE_URL"]
            ) as process:
                process.await_ready()
                end = "up to date" if as_json else "Nothing is left to do."
                wait_until(lambda: end in output.read_text(), output.read_text, timeout_s=20)
                process.stop()
                assert process.exit_code() == 0
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 0
        finally:
            following.kill()
    lines = output.read_text().splitlines()
    assert "Traceback" not in output.read_text()
    if as_json:
        last = next(json.loads(line) for line in lines if "up to date" in line)
        assert (last["embedded"], last["pending"], last["eta_s"]) == (3, 0, 0)
    else:
        assert lines[0].startswith("products.e  0/3  0 rows/s")
        done = next(index for index, line in enumerate(lines) if line.startswith("products.e  3/3  done"))
        assert any(line.startswith("Nothing is left to do.") for line in lines[done:])


def test_follow_waits_for_a_database_that_goes_away(watched: Db, database_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, "status", "--follow"]
    output = tmp_path / "output"
    name = sql.Identifier(watched.info.dbname)
    with (
        psycopg.connect(database_url, dbname="postgres", autocommit=True) as server,
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as following,
    ):
        try:
            wait_until(lambda: "products.e" in output.read_text(), "the first state", timeout_s=10)
            server.execute(sql.SQL("alter database {} allow_connections false").format(name))
            try:
                server.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sidecar-cli'"
                    " and datname = %s",
                    [watched.info.dbname],
                )
                wait_until(lambda: "The database is gone since " in output.read_text(), output.read_text, timeout_s=10)
            finally:
                server.execute(sql.SQL("alter database {} allow_connections true").format(name))
            watched.execute("update sidecar_internal.watches set paused = true")
            wait_until(lambda: "The database is back after " in output.read_text(), output.read_text, timeout_s=10)
            wait_until(lambda: "paused" in output.read_text(), output.read_text, timeout_s=10)
            assert output.read_text().count("gone since") == 1
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 0
        finally:
            following.kill()


def test_follow_without_a_watch_says_so(db: Db, command_line: CommandLine, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen([sys.executable, "-c", _PROGRAM, "status", "-f"], cwd=ROOT, stdout=file) as following,
    ):
        try:
            wait_until(lambda: "Nothing is watched yet." in output.read_text(), output.read_text, timeout_s=10)
        finally:
            following.kill()
