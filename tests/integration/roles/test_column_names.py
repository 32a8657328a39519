"""Column names chosen by a table's owner inject no SQL into functions that run with other roles' rights."""

from __future__ import annotations

import pytest
from psycopg import sql

from tests.integration.ingest.watched_table import Connection, run, value
from tests.integration.roles.cast import Stage

# Names that end a quoted body, run a statement, and open a body again.
NAMES = tuple(f"{quote};select shop.note();select {quote}" for quote in ("$f$", "$body$", "$outer$", "'"))
AUDIT = """
create table shop.audit (name text);
create function shop.note() returns void language plpgsql as $$
    begin insert into shop.audit values (current_user); end $$;
set check_function_bodies = off
"""


@pytest.mark.parametrize("name", NAMES)
async def test_the_name_of_a_key_column_is_never_executed_by_watch_or_migrate(
    stage: Stage, owner: Connection, admin: Connection, name: str
) -> None:
    await owner.execute(AUDIT)
    column = sql.Identifier(name)
    await owner.execute(sql.SQL("create table shop.items ({} integer primary key, title text)").format(column))
    await run(admin, "set check_function_bodies = off")
    await run(admin, "select sidecar.watch('shop.items', 'title', target => 'embedding', dimensions => 16)")
    await run(
        admin, "select sidecar_internal.create_trigger_functions(w) from sidecar_internal.watches w"
    )  # as a migration does

    assert await run(owner, "select name from shop.audit") == []
    await run(owner, "insert into shop.items values (7, 'a')")
    assert await value(owner, "select k1 from sidecar_internal.events_1") == 7
