"""Statements that run with our rights resolve nothing through objects that a user can define."""

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

# A column of a user's: nothing is looked up for it by its type in ORDER BY, IS NULL, and what takes "any".
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


async def watches(stage: Stage, owner: Connection, companion: str | None) -> list[Watch]:
    """One of texts and one of pictures."""
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
    """Name and text, without comments, of every statement: of pages both the first and the following ones."""
    for name, continued in itertools.product(statements(), (False, True)):
        yield name, " ".join(line.split("--")[0] for line in watch.sql(name, continued=continued).splitlines())


@in_row_and_companion
async def test_the_worker_s_statements_use_users_columns_only_as_of_the_types_they_had(
    stage: Stage, owner: Connection, companion: str | None
) -> None:
    seen = 0
    for watch in await watches(stage, owner, companion):
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
async def test_the_worker_s_statements_cast_no_key_of_a_user_s_type(
    stage: Stage, owner: Connection, companion: str | None
) -> None:
    for watch in await watches(stage, owner, companion):
        for name, sql in rendered(watch):
            for keyword in ("mood", "k1::", ".k1)::", "to_json"):
                assert keyword not in sql.replace('"Mood"', ""), (name, sql)
            assert not re.search(r"jsonb_build_object\('Mood', (?!concat\()", sql), (name, sql)


CASTS_IN_CODE = (
    r"(?:new|old|\br|\bt|\be|\bl|\bh)\.(?:%\d\$[Is]|k%\d\$s|%I|k1|\"\w+\")\s*::",  # of a key or a column
    r"\)\s*::%\d\$s|\)\s*::%s(?!\()|\]\s*::%\d\$s",  # to a type that is named
    r"->>[^)]*\)::",
    r"\bto_jsonb?\(|\brow_to_json\(",
)


async def test_no_function_that_runs_with_our_rights_casts_a_key(stage: Stage, owner: Connection) -> None:
    """Nor one that it calls. Those for one watch are read as they were made."""
    await watches(stage, owner, "vectors")
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
def test_the_patterns_find_what_was_there_once(careless: str) -> None:
    assert any(re.search(pattern, careless) for pattern in CASTS_IN_CODE)
