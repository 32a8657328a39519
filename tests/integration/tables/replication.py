"""Logical replication of `items` between two databases of one server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.integration.ingest.watched_table import Connection, run, value
from tests.waiting import wait_until_async

ITEMS = "create table items (id bigint primary key, title text, price integer default 0)"


@dataclass(frozen=True, slots=True)
class Replication:
    """Sessions on publisher and subscriber."""

    publisher: Connection
    subscriber: Connection

    async def arrive(self) -> None:
        """Waits until the subscriber has the publisher's rows."""
        query = "select id, title, price from items order by id"

        async def is_there() -> bool:
            return await run(self.publisher, query) == await run(self.subscriber, query)

        await wait_until_async(is_there, "the subscriber to have the publisher's rows")

    async def publish(self, statement: str) -> None:
        await run(self.publisher, statement)
        await self.arrive()


def url_of(connection: Connection) -> str:
    """The URL that the connection was opened with."""
    info = connection.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


@asynccontextmanager
async def subscribed(publisher: Connection, subscriber: Connection) -> AsyncIterator[Replication]:
    """Both sides have `items`, the only published table. Its existing rows are copied."""
    slot = f"slot_{await value(publisher, 'select oid from pg_database where datname = current_database()')}"
    await run(publisher, "create publication of_items for table items with (publish_via_partition_root = true)")
    # Within one server CREATE SUBSCRIPTION would wait for itself if it created the slot.
    await run(publisher, f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    await run(
        subscriber,
        f"create subscription {slot} connection '{url_of(publisher)}' publication of_items "
        f"with (create_slot = false, slot_name = '{slot}')",
    )
    try:
        replication = Replication(publisher, subscriber)
        await replication.arrive()
        yield replication
    finally:
        await run(subscriber, f"alter subscription {slot} disable")
        await run(subscriber, f"alter subscription {slot} set (slot_name = none)")
        await run(subscriber, f"drop subscription {slot}")

        async def is_dropped() -> bool:
            idle = "select count(*) from pg_replication_slots where slot_name = %s and not active"
            return bool(await value(publisher, idle, slot))

        await wait_until_async(is_dropped, "the walsender to go")
        await run(publisher, f"select pg_drop_replication_slot('{slot}')")
        await run(publisher, "drop publication of_items")
