"""The heartbeat that a sidecar records every two seconds, and that `plan` and `doctor` read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sidecar.batching.encoder import PreparedText
from tests.command_line import CommandLine
from tests.encoders import TimedEncoder
from tests.integration.ingest.composition import DIMENSIONS, running_ingest
from tests.integration.ingest.watched_table import run, user, value, watch
from tests.waiting import wait_until_async


class ClockedEncoder(TimedEncoder):
    """A TimedEncoder that keeps the texts per second of each call."""

    rates_per_s: list[float]

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        began = time.perf_counter()
        vectors = super().encode_texts(texts)
        self.rates_per_s.append(len(texts) / (time.perf_counter() - began))
        return vectors


async def test_the_rate_of_the_device_and_the_clock_reach_the_database_and_plan_uses_them(
    database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    encoder = ClockedEncoder(view_ms=5, dimensions=DIMENSIONS)
    encoder.rates_per_s = []
    async with user(database_url) as db:
        await run(db, "create table items (id bigint primary key, title text)")
        await run(db, "insert into items select i, 'item ' || i from generate_series(1, 200) i")
        table = await watch(db, ("items",), ("title",))
        async with running_ingest(database_url, encoder):
            await table.settle()

            async def told() -> object:
                return await value(db, "select texts_per_s from sidecar_internal.sidecars")

            await wait_until_async(told, "a heartbeat after the backfill")
            rate_per_s = float(await value(db, "select texts_per_s from sidecar_internal.sidecars"))
            # That of the calls as they were: on a busy machine they take longer than 5 ms a text.
            assert 0.9 * min(encoder.rates_per_s) < rate_per_s < 1.02 * max(encoder.rates_per_s)
            assert abs(await value(db, "select clock_skew_s from sidecar_internal.sidecars")) < 2
            assert await value(db, "select picture_views_per_s from sidecar_internal.sidecars") is None
            plan = json.loads(command_line.succeed("plan", "items", "title", "--dimensions", str(DIMENSIONS), "--json"))
            assert plan["device_s"] == pytest.approx(200 / rate_per_s, rel=0.25)


async def test_a_reader_may_ask_for_status_and_plans(
    database_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with user(database_url) as db:
        role = f"reader_{db.info.dbname}"
        await run(db, "create table items (id bigint primary key, title text)")
        await watch(db, ("items",), ("title",))
        await run(db, f"create role {role} login password 'pw'; select sidecar.grant_reader('{role}')")
        await run(db, f"grant select on items to {role}")
        server = database_url.partition("@")[2]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{role}:pw@{server}")
        try:
            assert "no sidecar is running" in command_line.succeed("status")
            assert "No row has failed" in command_line.succeed("failures", "--by-reason")
            outcome = command_line("plan", "items", "title", "--json")
            assert json.loads(outcome.stdout)["refusal"]["message"].startswith("only the owner of")
        finally:
            await run(db, f"drop owned by {role}; drop role {role}")
