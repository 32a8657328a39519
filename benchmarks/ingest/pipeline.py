"""Rows per second from end to end, compared with what the device alone can do."""

from __future__ import annotations

import tempfile
import time
from itertools import islice
from pathlib import Path

import psycopg

from benchmarks.figure import Figure, of_rounds
from benchmarks.ingest.running import running_ingest
from benchmarks.pictures import insert_photos, jpegs
from benchmarks.scratch import execute, scratch_database
from sidecar.batching.encoder import Encoder
from sidecar.config import Settings, set_openmp_defaults
from tests.encoders import TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

TEXT_MS, VIEW_MS = 1.0, 5.0
VIEWS_OF_640_BY_480 = 8  # at two scales; equal crops are encoded once


async def measure_pipeline(server: Server, rows: int, rounds: int) -> list[Figure]:
    """Ingest a backlog that exists when the watch begins, measured from the first vector to the last."""
    text_rate, picture_rate = 1000 / TEXT_MS, 1000 / VIEW_MS / VIEWS_OF_640_BY_480
    rates: dict[str, list[float]] = {"texts": [], "pictures": [], "texts, model": [], "pictures, model": []}
    with tempfile.TemporaryDirectory() as directory:
        model = _tiny_model(Path(directory))
        for _ in range(rounds):
            rates["texts"].append(await _texts_per_s(server, TimedEncoder(TEXT_MS), rows) / text_rate)
            pictures = await _pictures_per_s(server, TimedEncoder(VIEW_MS, view_size=384), rows // 32)
            rates["pictures"].append(pictures / picture_rate)
            rates["texts, model"].append(await _texts_per_s(server, model, rows))
            rates["pictures, model"].append(await _pictures_per_s(server, model, rows // 32))
    jpegs_with_views = f"pipeline, 640x480 JPEGs with {VIEWS_OF_640_BY_480} views"
    return [
        of_rounds(f"pipeline, texts, device of {text_rate:g} texts/s", rates["texts"], "of the device", ">= 0.9"),
        of_rounds(
            f"{jpegs_with_views}, device of {picture_rate:g} pictures/s", rates["pictures"], "of the device", ">= 0.9"
        ),
        of_rounds("pipeline, texts, small real model on the CPU", rates["texts, model"], "rows/s"),
        of_rounds("pipeline, 640x480 JPEGs with TTA, small real model on the CPU", rates["pictures, model"], "rows/s"),
    ]


def _tiny_model(directory: Path) -> Encoder:
    set_openmp_defaults()  # before torch is imported, as in the sidecar
    from sidecar.model.loading import load_encoder
    from tests.tiny_models.open_clip_model import make_tiny_model

    make_tiny_model(directory)
    return load_encoder(Settings(vision_model_id=f"local-dir:{directory}", require_cuda=False))


async def _texts_per_s(server: Server, encoder: Encoder, rows: int) -> float:
    with scratch_database(server) as url:
        execute(
            url,
            "create table docs (id bigint generated always as identity primary key, body text)",
            f"insert into docs (body) select 'document number ' || i from generate_series(1, {rows}) i",
            "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')",
        )
        return await _drain(url, encoder, rows)


async def _pictures_per_s(server: Server, encoder: Encoder, rows: int) -> float:
    with scratch_database(server) as url:
        execute(url, "create table docs (id bigint generated always as identity primary key, photo bytea)")
        insert_photos(url, "docs", islice(jpegs(640, 480), rows))
        execute(url, "select sidecar.watch('docs', source => 'photo', target => 'embedding', index => 'none')")
        return await _drain(url, encoder, rows)


async def _drain(url: str, encoder: Encoder, rows: int) -> float:
    """Rows per second between the first vectors seen and the last."""
    async with running_ingest(url, encoder), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def count() -> int:
            cursor = await connection.execute("select count(*) from docs where embedding is not null")
            row = await cursor.fetchone()
            return 0 if row is None else int(row[0])

        await wait_until_async(count, "the first vector", timeout_s=60)
        first, started = await count(), time.perf_counter()

        async def all_done() -> bool:
            return await count() == rows

        await wait_until_async(all_done, f"{rows} vectors", timeout_s=300)
        return (rows - first) / (time.perf_counter() - started)
