"""Metrics of a whole sidecar beside Postgres: what happened to the rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from sidecar.app import create_app
from sidecar.batching.encoder import Encoder
from sidecar.errors import DeviceError
from sidecar.ingest.decision import MAX_ATTEMPTS
from tests.integration.http.conftest import is_ready, make_settings
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.items import insert_titles, make_pictures, make_texts
from tests.integration.ingest.test_failures import PoisonedEncoder
from tests.integration.ingest.test_signals import IS_ASLEEP
from tests.integration.ingest.watched_table import Connection, picture, run, user, value
from tests.scrape import Scrape, scrape
from tests.waiting import wait_until_async

ITEMS = "public.items.embedding"
LAG, BACKFILL_LAG = "sidecar_commit_to_vector_lag_seconds", "sidecar_backfill_lag_seconds"


@asynccontextmanager
async def sidecar(database_url: str, encoder: Encoder, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    settings = make_settings(
        database_url=SecretStr(database_url), **{"poll_interval_s": 0.2, "enable_tta": False, **changes}
    )
    app = create_app(settings, load_encoder=lambda _settings: encoder)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:9000") as client,
    ):
        await wait_until_async(lambda: is_ready(client), "/readyz")
        yield client


async def until(client: httpx.AsyncClient, name: str, expected: float | None, **labels: str) -> Scrape:
    """Scrapes until the value is as expected."""
    pages: list[Scrape] = []

    async def is_so() -> bool:
        pages[:] = [await scrape(client)]
        return pages[0].value(name, **labels) == expected

    await wait_until_async(is_so, lambda: f"{name} to be {expected}, not {pages[0].value(name, **labels)}")
    return pages[0]


def events(page: Scrape, watch: str = ITEMS) -> dict[tuple[str, ...], float]:
    """Number of events by outcome and reason."""
    return page.by("sidecar_events_total", "outcome", "reason", watch=watch)


async def test_rows_are_counted_by_outcome(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db, 8)
    async with sidecar(database_url, encoder) as client:
        await table.settle_right(encoder)
        await run(db, "insert into items values (9, null), (10, '  '), (11, 'gone')")
        await table.settle_right(encoder)
        assert events(await scrape(client)) == {("embedded", ""): 9, ("empty", ""): 2}

        await run(db, "update items set title = 'other ' || id where id <= 3")
        await run(db, "delete from items where id = 11")
        await table.settle_right(encoder)
        await run(db, "update items set title = title || 'x'; update items set title = rtrim(title, 'x') where id < 3")
        await table.settle_right(encoder)
        page = await until(client, "sidecar_watch_empty_rows", 1, watch=ITEMS)

    counted = events(page)
    assert counted["deleted", ""] == 1
    written = sum(counted.get((outcome, ""), 0) for outcome in ("embedded", "unchanged", "empty", "superseded"))
    assert written == 11 + 3 + 9 + 2  # NULL stays NULL: no write
    claimed = page.by("sidecar_claimed_events_total", "queue")
    assert claimed == {("backfill",): 8, ("live",): 18, ("suspect",): 0}
    assert page.value(f"{BACKFILL_LAG}_count", watch=ITEMS) == 8
    assert page.value(f"{LAG}_count", watch=ITEMS) == 1 + 3 + 11  # rows that have a vector now
    assert page.value("sidecar_database_up") == 1
    of_watch = {"pending_rows": 0, "failed_rows": 0, "embedded_rows": 9, "coverage_ratio": 1, "broken": 0}
    assert {name: page.value(f"sidecar_watch_{name}", watch=ITEMS) for name in of_watch} == of_watch
    operations = page.by("sidecar_database_operation_duration_seconds_count", "operation")
    assert {("claim",), ("read",), ("complete",), ("scan",)} <= operations.keys()


async def test_the_lag_is_the_time_from_the_change_to_its_vector(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        encoder.close()
        began = time.monotonic()
        await insert_titles(db, 1, 3)
        await encoder.until_held()
        page = await until(client, "sidecar_watch_pending_rows", 3, watch=ITEMS)
        waited = await scrape_until_pending_for(client, 0.5)
        assert waited.value(f"{LAG}_count", watch=ITEMS) is None
        encoder.open()
        await table.settle_right(encoder)
        page = await until(client, f"{LAG}_count", 3, watch=ITEMS)
        longest_s = time.monotonic() - began
        lags_s = page.value(f"{LAG}_sum", watch=ITEMS) or 0
        assert 3 * 0.5 < lags_s < 3 * longest_s
        assert page.value(f"{LAG}_bucket", watch=ITEMS, le="0.5") == 0
        assert page.value(f"{LAG}_bucket", watch=ITEMS, le="30.0") == 3
        assert page.value(f"{BACKFILL_LAG}_count", watch=ITEMS) is None
        page = await until(client, "sidecar_watch_oldest_pending_seconds", 0, watch=ITEMS)


async def scrape_until_pending_for(client: httpx.AsyncClient, seconds: float) -> Scrape:
    async def waits() -> bool:
        page = await scrape(client)
        return (page.value("sidecar_watch_oldest_pending_seconds", watch=ITEMS) or 0) > seconds

    await wait_until_async(waits, f"a row to wait for {seconds} s")
    return await scrape(client)


async def test_the_lag_lasts_until_the_commit(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_texts(db)
    body = "begin perform pg_sleep(0.4); return null; end"
    await run(db, f"create function dawdle() returns trigger language plpgsql as $$ {body} $$")
    await run(
        db,
        "create constraint trigger dawdle after update of embedding on items deferrable initially deferred "
        "for each row execute function dawdle()",
    )
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        await insert_titles(db, 1, 1)
        await table.settle_right(encoder)
        page = await until(client, f"{LAG}_count", 1, watch=ITEMS)
    assert (page.value(f"{LAG}_sum", watch=ITEMS) or 0) > 0.4


async def test_every_change_has_its_lag_even_if_a_later_one_overtook_it(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        await run(db, "begin; insert into items values (1, 'a'); update items set title = 'b'; commit")
        await table.settle_right(encoder)
        page = await until(client, f"{LAG}_count", 2, watch=ITEMS)
    assert events(page) == {("embedded", ""): 1, ("superseded", ""): 1}


async def test_failures_have_their_reasons(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    table = await make_pictures(db)
    await run(db, "alter table items add constraint no_two check (id <> 2 or embedding is null)")
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        for number, content in enumerate([b"not a picture", picture(2), picture(3), picture(4)], 1):
            await run(db, "insert into items values (%s, %s)", number, content)
        await table.settle()
        page = await until(client, "sidecar_watch_failed_rows", 2, watch=ITEMS)
    assert events(page) == {("embedded", ""): 2, ("failed", "not_a_picture"): 1, ("failed", "write_rejected"): 1}
    assert page.value("sidecar_watch_coverage_ratio", watch=ITEMS) == 0.5
    assert page.value("sidecar_stage_duration_seconds_count", stage="decode", lane="ingest") == 4
    assert page.value("sidecar_device_views_total", kind="picture", lane="ingest") == 3


async def test_delayed_and_released_events_are_no_failures(database_url: str, db: Connection) -> None:
    encoder = PoisonedEncoder(DeviceError)
    table = await make_texts(db)
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        await run(db, "insert into items values (1, 'poison'), (2, 'good')")
        await table.settle_without_delays()
        counted = events(await scrape(client))
        assert counted == {
            ("embedded", ""): 1,
            ("delayed", "device_error"): MAX_ATTEMPTS - 1,
            ("failed", "device_error"): 1,
        }

        encoder.dead = True
        await run(db, "insert into items values (3, 'waits')")
        wanted = {"watch": ITEMS, "outcome": "given_back", "reason": "interrupted"}

        async def is_released() -> bool:
            return ((await scrape(client)).value("sidecar_events_total", **wanted) or 0) >= 1

        await wait_until_async(is_released, "the row to be released")
        encoder.dead = False
        await table.settle()
        page = await scrape(client)
    assert events(page)["embedded", ""] == 2
    assert (page.value("sidecar_device_errors_total", kind="text") or 0) >= MAX_ATTEMPTS


async def test_a_locked_row_is_shown_until_it_is_written(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 3)
    async with sidecar(database_url, encoder) as client, user(database_url, autocommit=False) as holder:
        await run(holder, "select from items where id = 2 for update")
        await until(client, "sidecar_locked_rows", 1)
        await holder.commit()
        await table.settle_right(encoder)
        page = await until(client, "sidecar_locked_rows", 0)
    assert events(page) == {("embedded", ""): 3}


async def test_a_truncate_and_the_results_it_voids_are_counted(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    async with sidecar(database_url, encoder) as client:
        await table.settle_right(encoder)
        encoder.close()
        await run(db, "update items set title = 'new ' || id")
        await encoder.until_held()
        await run(db, "truncate items")
        labels = {"watch": ITEMS, "outcome": "truncated", "reason": ""}
        await until(client, "sidecar_events_total", 1, **labels)
        encoder.open()
        await table.settle()
        page = await until(client, "sidecar_events_total", 6, **labels)
    assert events(page)["embedded", ""] == 5


async def test_the_series_of_a_dropped_watch_disappear(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db, 5)
    table_name = '"Odd ""One"""'
    await run(db, f"create table {table_name} (id int primary key, title text)")
    await run(db, f"insert into {table_name} values (1, 'one')")
    options = "source => 'title', target => 'odd name', dimensions => 16, index => 'none'"
    await run(db, f"select sidecar.watch('{table_name}', {options})")
    other = f"public.{table_name}.odd name"
    async with sidecar(database_url, encoder) as client:
        await table.settle()
        page = await until(client, "sidecar_watch_embedded_rows", 1, watch=other)
        assert events(page, other) == {("embedded", ""): 1}
        await run(db, f"select sidecar.unwatch('{table_name}', 'odd name')")

        async def is_gone() -> bool:
            pages[:] = [await scrape(client)]
            return other not in watches(pages[0])

        pages: list[Scrape] = []
        await wait_until_async(is_gone, "every series of the dropped watch to be gone")
        assert events(pages[0]) == {("embedded", ""): 5}


def watches(page: Scrape) -> set[str]:
    return {
        sample.labels["watch"]
        for family in page.families.values()
        for sample in family.samples
        if "watch" in sample.labels
    }


async def test_sleep_ends_with_notifications_and_polls(
    database_url: str, db: Connection, encoder: GatedEncoder
) -> None:
    table = await make_texts(db)
    async with sidecar(database_url, encoder, poll_interval_s=60.0) as client:
        await until(client, "sidecar_listener_connected", 1)
        await table.settle()

        async def is_asleep() -> bool:
            return bool(await value(db, IS_ASLEEP))

        await wait_until_async(is_asleep, "the sidecar to sleep")

        async def was_notified() -> bool:
            """A row written while the sidecar is still searching is found without a notification."""
            number = await value(db, "select count(*) + 1 from items")
            await insert_titles(db, number, number)
            await table.settle()
            return bool((await scrape(client)).value("sidecar_wake_ups_total", cause="notification"))

        await wait_until_async(was_notified, "a notification to end a sleep")

        async def was_polled() -> bool:
            return bool((await scrape(client)).value("sidecar_wake_ups_total", cause="poll"))

        await wait_until_async(was_polled, "a poll to end a sleep")
        page = await scrape(client)
    assert (page.value("sidecar_notifications_total") or 0) >= 1
    assert (page.value("sidecar_empty_claims_total") or 0) >= 1


async def test_index_builds_and_caps_are_shown(database_url: str, db: Connection, encoder: GatedEncoder) -> None:
    await run(db, "create table items (id bigint primary key, title text)")
    await insert_only_titles(db, 5)
    await run(db, "select sidecar.watch('items', source => 'title', target => 'embedding', dimensions => 16)")
    await run(db, "select sidecar.set_rate('items', rows_per_s => 100)")
    async with sidecar(database_url, encoder) as client:
        page = await until(client, "sidecar_index_builds_total", 1, result="built")
        assert page.value("sidecar_watch_rate_cap_rows_per_second", watch=ITEMS) == 100


async def insert_only_titles(db: Connection, rows: int) -> None:
    await run(db, "insert into items select i, 'title ' || i from generate_series(1, %s::int) i", rows)


async def test_a_database_that_is_down_is_shown_without_old_numbers(encoder: GatedEncoder) -> None:
    async with sidecar("postgresql://nobody:hunter2@127.0.0.1:1/nothing", encoder) as client:
        page = await until(client, "sidecar_database_up", 0)
        assert watches(page) == set()
        assert page.value("sidecar_listener_connected") in (None, 0)


async def test_a_database_that_never_answers_does_not_hold_up_a_scrape(encoder: GatedEncoder) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with sidecar(f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable", encoder, ingest=False) as client:
            began = time.monotonic()
            pages = await asyncio.gather(*(scrape(client) for _ in range(3)))
            assert time.monotonic() - began < 12
            assert [page.value("sidecar_ready") for page in pages] == [1, 1, 1]


@pytest.mark.parametrize("rows", [0, 3])
async def test_the_watches_are_shown_without_ingest_too(
    database_url: str, db: Connection, encoder: GatedEncoder, rows: int
) -> None:
    await make_texts(db, rows)
    async with sidecar(database_url, encoder, ingest=False) as client:
        page = await until(client, "sidecar_watch_pending_rows", rows, watch=ITEMS)
        assert page.value("sidecar_listener_connected") is None
        assert events(page) == {}
