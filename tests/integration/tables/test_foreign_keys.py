"""Foreign keys from and to a watched table: cascaded changes are embedded, and nothing blocks."""

from __future__ import annotations

from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import in_row_and_companion
from tests.integration.ingest.watched_table import Connection, run, user, value, watch
from tests.integration.tables.sweeping import until_clean

SCHEMA = """
    create table shops (name text primary key);
    create table brands (name text primary key, owner text references brands on update cascade on delete cascade);
    create table items (
        shop text references shops on update cascade on delete cascade,
        id bigint,
        brand text default 'none' references brands on update cascade on delete set null,
        label text default 'none' references brands on update cascade on delete set default,
        primary key (shop, id)
    ) {partitioning};
    create table orders (id bigint primary key, shop text, item bigint,
                         foreign key (shop, item) references items on update cascade on delete set null);
    insert into shops values ('here'), ('there');
    insert into brands values ('none', null), ('acme', null), ('globex', 'acme');
"""


@in_row_and_companion
async def test_changes_cascaded_by_a_foreign_key_are_embedded(
    database_url: str, db: Connection, encoder: GatedEncoder, companion: str | None
) -> None:
    """The source and a part of the key are foreign keys. Of the two tables one is partitioned."""
    partitioning = "" if companion else "partition by list (shop)"
    for statement in SCHEMA.format(partitioning=partitioning).split(";")[:-1]:
        await run(db, statement)
    if partitioning:
        await run(db, "create table items_here partition of items for values in ('here')")
        await run(db, "create table items_others partition of items default")
    await run(
        db,
        "insert into items select s, i, b, b from unnest('{here,there}'::text[]) s, "
        "unnest('{acme,globex,none}'::text[]) with ordinality as u(b, i)",
    )
    await run(db, "insert into orders select 10 * id + length(shop), shop, id from items")
    table = await watch(db, ["items"], ["brand", "label"], ["shop", "id"], companion=companion)
    async with running_ingest(database_url, encoder):
        await table.settle_right(encoder)
        for statement in (
            "update brands set name = 'ACME Inc' where name = 'acme'",
            "update shops set name = 'over there' where name = 'there'",
            "delete from brands where name = 'ACME Inc'",
            "delete from shops where name = 'over there'",
        ):
            await run(db, statement)
            await table.settle_right(encoder)
        await until_clean(db, table)
        assert await run(db, "select id, brand, label from items order by id") == [
            (1, None, "none"),
            (2, None, "none"),
            (3, "none", "none"),
        ]
        assert await value(db, "select count(item) from orders") == 3


async def test_a_vector_is_written_while_an_open_transaction_references_its_row(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    """A foreign-key check holds FOR KEY SHARE until its transaction ends, and does not wait for a completion."""
    await run(db, "create table items (id bigint primary key, title text)")
    await run(db, "create table orders (id bigint primary key, item bigint references items)")
    await run(db, "insert into items values (1, 'first'), (2, 'second')")
    table = await watch(db, ["items"], ["title"])
    async with user(database_url, autocommit=False) as buyer, running_ingest(database_url, encoder):
        await run(buyer, "insert into orders values (1, 1)")
        await table.settle_right(encoder)
        await run(db, "update items set title = 'changed' where id = 1")
        await table.settle_right(encoder)
        async with db.transaction():
            await run(db, "select from items for no key update")  # as the completion does
            await run(buyer, "set statement_timeout = '2s'")
            await run(buyer, "insert into orders values (2, 2)")
        await buyer.commit()
