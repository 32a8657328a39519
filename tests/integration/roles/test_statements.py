"""Statements that run with the worker's or installer's rights resolve nothing through users' objects."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from sidecar.postgres.database import Database
from sidecar.postgres.statements import statements
from sidecar.postgres.watches import Watch, load_watches
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run
from tests.integration.roles.cast import Stage

# Uses of a user's column that look up nothing by its type: ORDER BY, IS NULL, and functions of "any".
HARMLESS = (
    r"sidecar_internal\.exactly\(\([^()]*\)(?:\.\w+|\.\"\w+\"|\[1\]), {column}\)",
    r"sidecar_internal\.exactly\({column}, v\.embedding\)",
    r"sidecar_internal\.exactly\(null::public\.vector, {column}\)",
    r"{column} is (?:not )?null",
    r"{column} desc",
    r"(?<=order by ){column}(?:, {column})*",
    r"concat_ws\(' '(?:, {column})+\)",
    r"case when \$3 then {column} end as source\d+",
)
MAKES = """
set search_path = shop;
create type mood as enum ('a', 'b'); create domain sku as text;
create table items ("Mood" mood, "Id" bigint, "Sku" sku, "Title" text, "Photo" bytea, primary key ("Mood", "Id", "Sku"))
"""


async def make_watches(stage: Stage, owner: Connection, companion: str | None) -> list[Watch]:
    """A watch on texts and one on pictures."""
    for statement in MAKES.split(";"):
        await run(owner, statement)
    for source in ("Title", "Photo"):
        names = (source, f"{source}_e", f"{source}_vectors" if companion else None)
        await run(owner, "select sidecar.watch('items', %s, target => %s, companion => %s, dimensions => 16)", *names)
    database = Database(SecretStr(stage.admin))
    await database.open()
    try:
        async with database.connection() as connection:
            return await load_watches(connection)
    finally:
        await database.close()


def rendered(watch: Watch) -> Iterator[tuple[str, str]]:
    """Name and text, without comments, of every statement; of paged ones both the first page and the next."""
    for name, continued in itertools.product(statements(), (False, True)):
        yield name, " ".join(line.split("--")[0] for line in watch.sql(name, continued=continued).splitlines())


@in_row_and_companion
async def test_the_workers_statements_use_users_columns_only_with_the_types_recorded_by_watch(
    stage: Stage, owner: Connection, companion: str | None
) -> None:
    seen = 0
    for watch in await make_watches(stage, owner, companion):
        column = r'\b[tch]\."(?:Id|Mood|Sku|Photo|Title|Photo_e|Title_e)"'
        for name, text in rendered(watch):
            if name.startswith("write_vectors_in_") and ("companion" in name) is not watch.has_companion:
                continue
            seen += len(re.findall(column, text))
            sql = text
            for harmless in HARMLESS:
                sql = re.sub(harmless.replace("{column}", column), "", sql)
            sql = re.sub(r"set \"\w+\" = ", "", sql)
            assert not re.findall(column, sql), (name, sql)
    assert seen > 100


@in_row_and_companion
async def test_the_workers_statements_cast_no_key_of_a_users_type(
    stage: Stage, owner: Connection, companion: str | None
) -> None:
    for watch in await make_watches(stage, owner, companion):
        for name, sql in rendered(watch):
            for keyword in ("mood", "k1::", ".k1)::", "to_json"):
                assert keyword not in sql.replace('"Mood"', ""), (name, sql)
            assert not re.search(r"jsonb_build_object\('Mood', (?!concat\()", sql), (name, sql)


CASTS_IN_CODE = (
    r"(?:new|old|\br|\bt|\be|\bl|\bh)\.(?:%\d\$[Is]|k%\d\$s|%I|k1|\"\w+\")\s*::",  # of a key or a column
    r"\)\s*::%\d\$s|\)\s*::%s(?!\()|\]\s*::%\d\$s",  # to a named type
    r"->>[^)]*\)::",
    r"\bto_jsonb?\(|\brow_to_json\(",
)


async def test_no_security_definer_function_or_its_callees_cast_a_key(stage: Stage, owner: Connection) -> None:
    """Functions generated for one watch are checked in their generated form."""
    await make_watches(stage, owner, "vectors")
    sources = dict(
        await run(
            owner,
            "select proname, prosrc from pg_proc where pronamespace in ('sidecar'::regnamespace, "
            "'sidecar_internal'::regnamespace)",
        )
    )
    definers = await run(
        owner,
        "select proname from pg_proc where pronamespace in ('sidecar'::regnamespace, "
        "'sidecar_internal'::regnamespace) and prosecdef",
    )
    reached = {name for (name,) in definers}
    assert {"enqueue_1_row", "enqueue_2_row", "enqueue_lost_vectors", "status_of", "state_of_row"} <= reached
    while (
        called := {n for name in reached for n in re.findall(r"sidecar(?:_internal)?\.(\w+)\(", sources[name])}
        - reached
    ):
        reached |= called & sources.keys()
        if not called & sources.keys():
            break
    for name in sorted(reached):
        for pattern in CASTS_IN_CODE:
            found = re.search(pattern, sources[name])
            assert found is None, (name, str(found))


@pytest.mark.parametrize(
    "careless",
    [
        "select new.%2$I::text",
        "select (d.key->>%2$L)::%3$s",
        "select ($1->>'id')::%s",
        "to_jsonb(t.k1)",
        "select t.k1::text",
    ],
)
def test_the_patterns_match_casts_that_once_existed(careless: str) -> None:
    assert any(re.search(pattern, careless) for pattern in CASTS_IN_CODE)
