"""A demo started on the directory of an earlier version, whose vectors came from a model of random weights."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.e2e.demo_process import Demo, demo_process
from tests.integration.server.process import sidecar_process
from tests.servers import open_directory
from tests.tiny_models.open_clip_model import make_tiny_model
from tests.waiting import wait_until

pytestmark = pytest.mark.long

_TABLES = """
    create table pictures (id bigint primary key, caption text);
    insert into pictures values (1, 'a cat'), (2, 'a pot of tea');
    create table notes (id bigint primary key, body text);
    insert into notes values (1, 'my own');
    select sidecar.watch('pictures', source => 'caption');
    select sidecar.watch('notes', source => 'body', model => 'another-model');
"""
_SPACES = """
    select count(distinct fingerprint), min(model) from sidecar.status
        where relation in ('emoji'::regclass, 'pictures'::regclass)
"""


@pytest.fixture(scope="module")
def earlier_vector() -> list[str]:
    """The old vector of the first picture; set by `directory`."""
    return []


@pytest.fixture(scope="module")
def directory(earlier_vector: list[str], postgres_version: str) -> Iterator[Path]:
    """The directory as that version left it, with its model and vectors."""
    with open_directory() as parent:
        path = parent / "data"
        path.mkdir()
        path.chmod(0o711)
        (path / "demo.lock").touch()
        make_tiny_model(path / "model")
        with EmbeddedPostgres(path / "postgres", postgres_version) as postgres:
            migrate(postgres.url)
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                connection.execute(_TABLES)
                _embed(parent, path / "model", postgres.url)
                row = connection.execute("select caption_embedding::text from pictures where id = 1").fetchone()
            assert row is not None
            earlier_vector.append(row[0])
        yield path


def _embed(log_directory: Path, model: Path, url: str) -> None:
    arguments = ["-c", "from sidecar.cli import main; main()", "serve"]
    environment = {"DATABASE_URL": url, "VISION_MODEL_ID": f"local-dir:{model}", "REQUIRE_CUDA": "0"}
    with sidecar_process(log_directory, arguments, **environment) as process, psycopg.connect(url) as connection:
        wait_until(lambda: process.ask("/readyz") == 200, lambda: f"/readyz\n{process.log}", timeout_s=60)
        connection.execute("call sidecar.wait_embedded('pictures', '{\"id\": 1}', timeout_ms => 20000)")
        process.stop()
        assert process.exit_code() == 0


@pytest.fixture(scope="module")
def demo(directory: Path, postgres_version: str) -> Iterator[Demo]:
    with demo_process(directory, "--postgres", postgres_version) as demo:
        demo.await_answers()
        yield demo
        assert demo.end(signal.SIGTERM) == 0


def test_its_rows_are_embedded_again_by_the_current_model(demo: Demo, earlier_vector: list[str]) -> None:
    assert "pictures.caption_embedding: from an earlier demo's model, and embedded again" in demo.output
    with psycopg.connect(demo.database_url, autocommit=True) as connection:
        for key in (1, 2):
            connection.execute("call sidecar.wait_embedded('pictures', jsonb_build_object('id', %s::int))", [key])
        assert connection.execute(_SPACES).fetchone() == (1, "demo")
        row = connection.execute("select caption_embedding::text from pictures where id = 1").fetchone()
    assert row is not None
    assert row[0] not in {None, *earlier_vector}


def test_a_watch_pinned_to_the_users_own_model_is_left_alone(demo: Demo) -> None:
    with psycopg.connect(demo.database_url) as connection:
        row = connection.execute(
            "select model, state from sidecar.status where relation = 'notes'::regclass"
        ).fetchone()
    assert row is not None
    assert row[0] == "another-model"
    assert row[1].startswith("waiting for a sidecar with model another-model")


def test_its_model_is_deleted_and_its_rows_are_kept(demo: Demo, directory: Path) -> None:
    assert not (directory / "model").exists()
    with psycopg.connect(demo.database_url) as connection:
        assert connection.execute("select count(*) from pictures").fetchone() == (2,)
