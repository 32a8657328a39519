"""A crash of the server empties an unlogged table, but not its ledger."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from sidecar.embedded_postgres.server import EmbeddedPostgres
from sidecar.operations.migrations import migrate
from tests.integration.ingest.composition import running_ingest
from tests.integration.ingest.gated_encoder import GatedEncoder
from tests.integration.ingest.watched_table import run, user, value, watch
from tests.integration.tables.sweeping import sweep, until_clean

SETTINGS = {"fsync": "off", "max_connections": "30"}


def crash(server: EmbeddedPostgres, data_dir: Path) -> None:
    """Kills the server without a shutdown, and waits until it has ended."""
    [pid_file] = data_dir.rglob("postmaster.pid")
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    server.stop()


async def test_the_sweep_finds_an_unlogged_table_emptied_by_a_crash(open_tmp_path: Path, encoder: GatedEncoder) -> None:
    data_dir = open_tmp_path / "data"
    with EmbeddedPostgres(data_dir, "18", settings=SETTINGS) as server:
        migrate(server.url)
        async with user(server.url) as db, running_ingest(server.url, encoder):
            await run(db, "create unlogged table items (id bigint primary key, title text)")
            await run(db, "insert into items select i, 'title ' || i from generate_series(1, 5) i")
            watched = [await watch(db, ["items"], ["title"])]
            watched.append(await watch(db, ["items"], ["title"], target="e", companion="vectors"))
            for table in watched:
                await table.settle_right(encoder)
            await run(db, "checkpoint")  # fsync is off
        crash(server, data_dir)
        server.start()
        async with user(server.url) as db, running_ingest(server.url, encoder):
            assert await value(db, "select count(*) from items") == 0
            for table in [replace(table, connection=db) for table in watched]:
                assert await table.count("ledger") == 5
                await sweep(db, table, encoder)
                await until_clean(db, table)
                await run(db, "insert into items values (%s, 'title 1')", table.watch_id)
                await table.settle_right(encoder)
