"""The pages of docs/recipes work as written, beside a sidecar in a process of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.pooler.pgbouncer import PROGRAM, pgbouncer
from tests.integration.recipes.index_use import check_index_is_used
from tests.integration.recipes.page import RECIPES, Page
from tests.integration.server.process import Process, sidecar_process
from tests.scrape import read
from tests.waiting import wait_until

LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")

WRITES_OF_DJANGO = """
import django
django.setup()
from django.db import connection
from django.test.utils import CaptureQueriesContext
from shop.models import Product

def update_names_the_vector(change):
    with CaptureQueriesContext(connection) as queries:
        change()
    (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    return "title_embedding" in update.split("WHERE")[0]

found = Product.objects.get(title="a straw hat")
assert not update_names_the_vector(found.save)
created = Product.objects.create(title="gloves", price=10)
assert not update_names_the_vector(lambda: created.save(update_fields=["price"]))
assert not update_names_the_vector(lambda: Product.objects.filter(id=created.id).update(price=1))
assert update_names_the_vector(created.save)
"""
# Runs each operation on the page's project, prints its error or the watches' states, and rolls it back. Renames are
# not rolled back: the sidecar follows them once they are committed.
CHANGES_OF_DJANGO = """
import json
import django
django.setup()
from django.db import DatabaseError, connection, migrations, models, transaction
from django.db.migrations.loader import MigrationLoader

def outcome_of(operation):
    state = MigrationLoader(connection).project_state()
    changed = state.clone()
    operation.state_forwards("shop", changed)
    try:
        with transaction.atomic():
            with connection.schema_editor() as editor:
                operation.database_forwards("shop", editor, state, changed)
            with connection.cursor() as cursor:
                cursor.execute("select string_agg(state, '; ' order by target) from sidecar.status")
                transaction.set_rollback(True)
                return cursor.fetchone()[0]
    except DatabaseError as error:
        return str(error).splitlines()[0]

print(json.dumps([
    outcome_of(migrations.AlterField("product", "title", models.CharField(max_length=300))),
    outcome_of(migrations.AlterField("product", "id", models.AutoField(primary_key=True))),
    outcome_of(migrations.RemoveField("product", "title")),
    outcome_of(migrations.AlterField("product", "title", models.CharField(max_length=200, null=True, db_index=True))),
    outcome_of(migrations.AlterField("product", "price", models.BigIntegerField())),
    outcome_of(migrations.AddField("product", "brand", models.TextField(default=""))),
]))
state = MigrationLoader(connection).project_state()
for operation in (migrations.RenameField("product", "title", "name"), migrations.RenameModel("Product", "Ware")):
    changed = state.clone()
    operation.state_forwards("shop", changed)
    with connection.schema_editor() as editor:
        operation.database_forwards("shop", editor, state, changed)
    state = changed
"""
STATEMENTS_OF_SQLALCHEMY = """
import shop
from sqlalchemy import event, select
from sqlalchemy.orm import Session
from models import Product

statements = []
event.listen(shop.engine, "before_cursor_execute", lambda c, k, statement, *rest: statements.append(statement))
with Session(shop.engine) as session:
    detached = session.scalars(select(Product).limit(1)).one()
    session.expunge(detached)
    detached.price = 1
    session.merge(detached).title = "another title"
    session.commit()
shop.engine.dispose()
assert [statement.split()[0] for statement in statements] == ["SELECT", "SELECT", "UPDATE"], statements
assert not any("title_embedding" in statement for statement in statements), statements
"""


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Process]:
    program = ("-m", "tests.integration.server.program", "hash")
    with sidecar_process(tmp_path, program, DATABASE_URL=database_url) as process:
        process.await_ready()
        yield process
        process.stop()
        assert process.exit_code() == 0, process.log


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("sqlalchemy.md", ["shop.py", "async_shop.py", "similar.py"]),
        ("drivers.md", ["with_asyncpg.py", "with_psycopg.py"]),
    ],
)
def test_the_page_works_and_its_searches_use_the_index(
    name: str, programs: list[str], service: Process, database_url: str, directory: Path
) -> None:
    page = Page(name, directory, database_url, service.url)
    page.follow()
    check_index_is_used(page, programs)


@pytest.mark.skipif(PROGRAM is None, reason="the program pgbouncer is not on this machine")
@pytest.mark.parametrize(
    ("name", "until", "needed"),
    [
        pytest.param("sqlalchemy.md", "## A vector that", ", connect_args=UNPREPARED", marks=pytest.mark.long),
        ("drivers.md", "## psycopg", ", statement_cache_size=0"),
    ],
)
def test_behind_pgbouncer_statements_are_not_prepared(
    name: str, until: str, needed: str, service: Process, database_url: str, open_tmp_path: Path
) -> None:
    page = Page(name, open_tmp_path, database_url, service.url)
    page.follow(until=until)
    with pgbouncer(open_tmp_path, database_url) as pooled_url:
        behind = replace(page, database_url=pooled_url)
        once = (open_tmp_path / "behind_pgbouncer.py").read_text(encoding="utf-8")
        many = r"for _ in range(5): print(await asyncio.gather(*(\1 for _ in range(20))))"
        often = re.sub(r"print\(await (dimensions\(\w+\))\)", many, once)
        behind.run_python(often)
        assert needed in often
        with pytest.raises(AssertionError, match="prepared statement"):
            behind.run_python(often.replace(needed, ""))


def test_the_django_page_works(service: Process, database_url: str, directory: Path) -> None:
    page = Page("django.md", directory, database_url, service.url)
    page.follow(until="## Changing")
    page.run_python(WRITES_OF_DJANGO)
    check_index_is_used(page, ["try_it.py"])
    encoded = count_encoded(page)
    page.follow(below="## Changing", until="## And back")
    assert count_encoded(page) == encoded > 0
    page.follow(below="## And back")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select to_regclass('shop_article_vectors')").fetchone() == (None,)


def test_django_migrations_of_a_watched_field_without_the_recipe(
    service: Process, database_url: str, directory: Path
) -> None:
    page = Page("django.md", directory, database_url, service.url)
    page.follow(until="## Searching")
    page.follow(below="## Changing", until="## And back")
    retyped, key_retyped, removed, *followed = json.loads(page.run_python(CHANGES_OF_DJANGO))
    assert retyped == key_retyped == "cannot alter type of a column used in a trigger definition"
    assert "broken: table public.shop_product has no column 'title'" in removed
    assert followed == ["up to date; up to date"] * 3
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("insert into shop_ware (name, price) values ('red shoes', 80)")
    assert count_encoded(page) == 1


def test_sqlalchemy_neither_reads_nor_writes_a_deferred_vector(
    service: Process, database_url: str, directory: Path
) -> None:
    page = Page("sqlalchemy.md", directory, database_url, service.url)
    page.follow(until="## Asynchronous")
    page.run_python(STATEMENTS_OF_SQLALCHEMY)


def count_encoded(page: Page) -> float:
    """Waits until all rows have vectors; returns how many texts of rows were encoded so far."""
    done = "select bool_and(state = 'up to date' and pending = 0) from sidecar.status"
    with psycopg.connect(page.database_url, autocommit=True) as connection:
        wait_until(lambda: connection.execute(done).fetchone() == (True,), "all to be up to date", timeout_s=20)
    views = read(httpx.get(f"{page.sidecar_url}/metrics").text).by("sidecar_device_views_total", "lane", kind="text")
    return sum(count for (lane,), count in views.items() if lane != "query")


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*.md")))
def test_links_have_targets(name: str) -> None:
    links = LINK.findall((RECIPES / name).read_text(encoding="utf-8"))
    assert not [link for link in links if not (RECIPES / link).exists()]


@pytest.mark.long
def test_the_alembic_page_works(service: Process, database_url: str, directory: Path) -> None:
    Page("alembic.md", directory, database_url, service.url).follow()
