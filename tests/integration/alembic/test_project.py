"""The example project, migrated with Alembic's command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from sidecar.operations.migrations import head_revision
from tests.encoders import HashEncoder
from tests.integration.alembic.user_project import Project
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.watched_table import Connection, picture, run, user, value
from tests.waiting import wait_until_async

ROWS = """
    insert into products (id, title, brand) values (1, 'red shoes', 'Acme'), (2, 'blue shoes', null);
    insert into notes (id, body) values (1, 'a note'), (2, 'another one');
    insert into press.articles (id, title, body) values (1, 'Cats', 'They sleep.'), (2, 'Ships', null);
"""
ALL_DONE = """
    select relation::text, target, state, index from sidecar.status
    where state <> 'up to date' or pending > 0 or (embedded > 0 and index not like '%hnsw%' and index <> 'none')
"""


async def fill(db: Connection) -> None:
    await run(db, ROWS)


async def finish(db: Connection) -> None:
    """Waits until every vector and every index exists."""
    await wait_until_async(lambda: _is_done(db), "all vectors and indexes", timeout_s=30)


async def _is_done(db: Connection) -> bool:
    return not await run(db, ALL_DONE)


async def notes_are_embedded(db: Connection) -> bool:
    return bool(await value(db, "select state = 'up to date' and embedded = 2 from sidecar.status_exact('notes')"))


async def vector(db: Connection, query: str) -> Any:
    text = await value(db, query)
    return None if text is None else np.array(text.strip("[]").split(","), np.float32)


@pytest.mark.long
async def test_autogenerate_finds_no_difference_while_a_sidecar_is_running(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    encoder = HashEncoder()
    await project.succeed_beside("upgrade", "head")
    async with user(database_url) as db, running_ingest(database_url, encoder, pictures=True):
        await fill(db)
        await run(db, "update products set photo = %s where id = 1", picture(1))
        await finish(db)
        assert np.allclose(
            await vector(db, "select embedding::text from press.article_vectors where id = 1"),
            encoder.vector_of("Cats They sleep."),
            atol=1e-6,
        )
        indexes = await run(db, "select index from sidecar.status where index <> 'none' order by 1")
        assert len(indexes) == 3
        assert "No new upgrade operations detected." in await project.succeed_beside("check")
        written = project.autogenerate("0005")
        assert "op." not in written.split("def upgrade")[1], written


async def test_without_the_filter_autogenerate_drops_what_the_sidecar_created(
    project: Project, database_url: str
) -> None:
    project.edit("env.py", "include_object=sidecar.alembic.include_object(connection),", "")
    project.edit("env.py", "include_name=sidecar.alembic.include_name(),", "")
    await project.succeed_beside("upgrade", "head")
    async with user(database_url) as db, running_ingest(database_url, HashEncoder()):
        await fill(db)
        await finish(db)
        written = project.autogenerate("0005")
    upgrade = written.split("def upgrade")[1].split("def downgrade")[0]
    for lost in (
        r"drop_table\('article_vectors', schema='press'\)",
        r"drop_table\('watches', schema='sidecar_internal'\)",
        r"drop_column\('products', 'title_embedding'\)",
        r"drop_index\(.*'products_title_embedding_hnsw_2'",
        r"drop_index\(.*'article_vectors_embedding_hnsw_3'",
    ):
        assert re.search(lost, upgrade), (lost, upgrade)
    assert "notes" not in upgrade  # notes are in the models


async def test_downgrade_keeps_the_vectors_and_a_second_upgrade_embeds_nothing(
    project: Project, database_url: str
) -> None:
    encoder = HashEncoder()
    await project.succeed_beside("upgrade", "head")
    async with user(database_url) as db, running_ingest(database_url, encoder):
        await run(db, "insert into notes (id, body) values (1, 'a note'), (2, 'another one')")
        await wait_until_async(lambda: notes_are_embedded(db), "the notes' vectors")
        await project.succeed_beside("downgrade", "0002")
        assert await value(db, "select count(body_embedding) from notes") == 2
        assert await value(db, "select count(*) from sidecar.status where relation = 'notes'::regclass") == 0
        calls = len(encoder.calls)
        await run(db, "update notes set body = 'a changed note' where id = 2")
        await project.succeed_beside("upgrade", "head")
        await wait_until_async(lambda: notes_are_embedded(db), "the changed note's vector")
        assert sum(encoder.calls[calls:]) == 1
        assert np.allclose(
            await vector(db, "select body_embedding::text from notes where id = 2"),
            encoder.vector_of("a changed note"),
            atol=1e-6,
        )


@pytest.mark.long
def test_downgrade_drops_the_vectors_if_the_migration_sets_drop_target(project: Project, database_url: str) -> None:
    project.succeed("upgrade", "0002")
    project.succeed("downgrade", "base")
    with psycopg.connect(database_url) as connection:
        for gone in ("products", "press.articles", "press.article_vectors"):
            assert connection.execute("select to_regclass(%s)", [gone]).fetchone() == (None,)
        assert connection.execute("select count(*) from sidecar_internal.watches").fetchone() == (0,)
    project.succeed("upgrade", "head")


@pytest.mark.long
def test_a_migration_that_times_out_on_a_lock_is_rolled_back_completely(project: Project, database_url: str) -> None:
    project.succeed("upgrade", "0002")
    with psycopg.connect(database_url) as reader:
        reader.execute("lock table notes in row exclusive mode")
        said = project.fail("upgrade", "0003")
        assert "it could not be locked within 300ms" in said, said
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select * from alembic_version").fetchall() == [("0002",)]
        assert connection.execute("select to_regclass('sidecar_internal.events_4')").fetchone() == (None,)
    project.succeed("upgrade", "head")


def test_a_migration_without_the_sidecar_schema_names_the_command_to_run_and_is_rolled_back(
    tmp_path: Path, plain_database_url: str
) -> None:
    project = Project.copy_to(tmp_path / "project", plain_database_url)
    with psycopg.connect(plain_database_url) as connection:
        connection.execute("create extension vector")
    said = project.fail("upgrade", "head")
    assert said.strip().splitlines()[-1] == (
        "FAILED: cannot call sidecar.watch for products: this database has no schema `sidecar`, or an older version "
        "of it. Run `sidecar migrate` on it before this migration."
    )
    assert "Traceback" not in said
    with psycopg.connect(plain_database_url) as connection:
        assert connection.execute("select to_regclass('products')").fetchone() == (None,)


def test_the_version_tables_of_project_and_sidecar_coexist_in_one_database(project: Project, database_url: str) -> None:
    project.succeed("stamp", "head")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select * from public.alembic_version").fetchall() == [("0004",)]
        assert connection.execute("select * from sidecar.alembic_version").fetchall() == [(head_revision(),)]


@pytest.mark.long
def test_the_sql_printed_in_offline_mode_runs_unchanged(project: Project, database_url: str) -> None:
    script = project.succeed("upgrade", "head", "--sql")
    assert (
        "select sidecar.watch(cast('press.articles' as regclass), source => ARRAY['title', 'body'], "
        "target => 'embedding', companion => 'article_vectors');"
    ) in script
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in script.split(";\n"):
            connection.execute(statement.encode())
        watched = connection.execute("select relation::text, target, companion::text from sidecar.status").fetchall()
    assert watched == [
        ("products", "photo_embedding", None),
        ("products", "title_embedding", None),
        ("press.articles", "embedding", "press.article_vectors"),
        ("notes", "body_embedding", None),
    ]
    back = project.succeed("downgrade", "head:base", "--sql")
    assert "select sidecar.unwatch(cast('notes' as regclass), target => 'body_embedding');" in back
    dropped = "cast('press.articles' as regclass), target => 'embedding', drop_target => true"
    assert f"select sidecar.unwatch({dropped});" in back
