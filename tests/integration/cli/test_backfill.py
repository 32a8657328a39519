"""`sidecar backfill` in one process: it ends once nothing is pending, and says what it cannot do."""

from __future__ import annotations

import json

import psycopg
import pytest

from sidecar.backfill import LocalWorker, WorkerFailed
from sidecar.cli import backfill as command
from sidecar.cli.backfill import BackfillEnded, BackfillRun
from sidecar.config import Settings, load_settings
from sidecar.errors import ModelError
from tests.command_line import CommandLine
from tests.encoders import SPOILT_WORD, HashEncoder, SpoilingEncoder

DIMENSIONS = 16


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Settings:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REQUIRE_CUDA", "0")
    monkeypatch.setenv("DECODE_PROCESSES", "1")
    monkeypatch.setattr(command, "_INTERVAL_OF_LINES_S", 0.2)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table docs (id bigint primary key, body text)")
        connection.execute(
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none', dimensions => 16)"
        )
        connection.execute("insert into docs select i, 'row ' || i from generate_series(1, 300) i")
        connection.execute("insert into docs values (0, %s)", [SPOILT_WORD])
    return load_settings()


def spoiling(_settings: Settings) -> HashEncoder:
    return SpoilingEncoder(dimensions=DIMENSIONS)


def test_it_embeds_all_rows_and_names_the_command_that_shows_those_that_failed(
    settings: Settings, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    BackfillRun(None, "docs", None, as_json=False).until_done(LocalWorker(settings, spoiling))
    printed = capsys.readouterr()
    assert "docs.embedding: 301 rows in 0:00:" in printed.out
    assert "docs.embedding: 1 row cannot be embedded" in printed.err
    assert "HINT: sidecar failures docs --target embedding" in printed.err
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(embedding) from docs").fetchone() == (300,)
        assert connection.execute("select count(*) from sidecar_internal.sidecars").fetchone() == (0,)


def test_a_paused_watch_ends_it_with_the_reason(
    settings: Settings, database_url: str, command_line: CommandLine
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("select sidecar.pause('docs')")
    with pytest.raises(BackfillEnded, match=r"cannot be embedded: docs\.embedding is paused"):
        BackfillRun(None, "docs", None, as_json=False).until_done(LocalWorker(settings, spoiling))
    assert "docs.embedding is paused" in command_line.fail("backfill")  # which starts no worker


def test_a_model_that_cannot_be_loaded_ends_it(settings: Settings) -> None:
    def fail(_settings: Settings) -> HashEncoder:
        raise ModelError("there is no model of that name")

    with pytest.raises((ModelError, WorkerFailed), match="there is no model of that name"):
        BackfillRun(None, "docs", None, as_json=False).until_done(LocalWorker(settings, fail))


def test_with_nothing_pending_it_ends_at_once(settings: Settings, database_url: str, command_line: CommandLine) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("truncate docs")
        connection.execute("select sidecar.unwatch('docs', 'embedding')")
    assert command_line.succeed("backfill").startswith("Nothing is watched.")


def test_with_nothing_pending_each_watch_is_a_line_of_json(settings: Settings, command_line: CommandLine) -> None:
    BackfillRun(None, "docs", None, as_json=False).until_done(LocalWorker(settings, spoiling))
    watch = json.loads(command_line("backfill", "--json").stdout)
    assert (watch["relation"], watch["pending"], watch["failed"]) == ("docs", 0, 1)


@pytest.mark.usefixtures("settings")
def test_an_option_of_ray_without_it_is_refused(command_line: CommandLine) -> None:
    outcome = command_line("backfill", "--workers", "2")
    assert outcome.code == 2
    assert "--address, --workers, --gpus-per-worker and --cpus-per-worker go with --ray" in outcome.stderr
