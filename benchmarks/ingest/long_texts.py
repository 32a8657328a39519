"""Rows per second by length of their texts, and the latency of queries beside a row of 100 MB."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from importlib.resources import as_file, files

import numpy as np
import psycopg
from numpy.typing import NDArray
from open_clip.tokenizer import HFTokenizer

from benchmarks.figure import Figure, of_rounds, percentile, ratio_of
from benchmarks.ingest.running import running_ingest
from benchmarks.scratch import execute, scratch_database
from sidecar.batching.embedder import Embedder
from sidecar.batching.encoder import PreparedText
from sidecar.batching.job import Lane
from sidecar.model.text.tokenizer import TextTokenizer
from tests.encoders import CONTEXT_LENGTH, TimedEncoder
from tests.servers import Server
from tests.waiting import wait_until_async

VIEW_MS, MICRO_BATCH_VIEWS = 2.0, 32
MICRO_BATCH_MS = VIEW_MS * MICRO_BATCH_VIEWS
ROWS = {100: 1_000, 2_000: 1_000, 20_000: 1_000, 1_000_000: 100}
LARGE_CHARS = 100_000_000
WORDS = [
    "a",
    "photo",
    "of",
    "the",
    "cat",
    "that",
    "sleeps",
    "on",
    "red",
    "sofas",
    "while",
    "two",
    "dogs",
    "walk",
    "along",
]


class TokenizingDevice(TimedEncoder):
    """A device that takes a fixed time per text, with the tokenizer of the demo model."""

    def __init__(self) -> None:
        super().__init__(VIEW_MS)
        with as_file(files("sidecar.demo").joinpath("model")) as directory:
            tokenizer = HFTokenizer(str(directory), context_length=CONTEXT_LENGTH, clean="canonicalize")
        self._tokenizer = TextTokenizer(tokenizer, CONTEXT_LENGTH, 1_000_000)

    def prepare_texts(self, texts: Sequence[str]) -> list[PreparedText]:
        return self._tokenizer.prepare(texts)

    def encode_texts(self, texts: Sequence[PreparedText]) -> NDArray[np.float32]:
        return self._encode(text.token_ids.tobytes() for text in texts)


async def measure_long_texts(server: Server, rounds: int, queries: int) -> list[Figure]:
    """rows/s, and their ratio to the rate of the shortest texts; then the p95 of queries, measured once."""
    rates: dict[int, list[float]] = {chars: [] for chars in ROWS}
    for _ in range(rounds):
        for chars, rows in ROWS.items():
            rates[chars].append(await _rate(server, chars, rows))
    shortest = rates[min(ROWS)]
    figures = [of_rounds(f"rows/s, texts of {chars:,} characters", rate, "rows/s") for chars, rate in rates.items()]
    figures += [
        ratio_of(f"rows/s, texts of {chars:,} characters / {min(ROWS)}", rates[chars], shortest, ">= 0.8")
        for chars in ROWS
        if chars > min(ROWS)
    ]
    idle_ms, beside_ms = await _query_latencies(server, queries)
    added = (beside_ms - idle_ms) / MICRO_BATCH_MS
    return [
        *figures,
        Figure("query when idle, p95", idle_ms, "ms"),
        Figure("query beside a row of 100 MB, p95", beside_ms, "ms"),
        Figure("query beside a row of 100 MB, p95, what it adds", added, "micro-batches", "<= 1"),
    ]


async def _rate(server: Server, chars: int, rows: int) -> float:
    with scratch_database(server) as url:
        _make_table(url)
        with psycopg.connect(url, autocommit=True) as connection:
            query = "insert into docs (body) select i || ' ' || %s from generate_series(1, %s) i"
            connection.execute(query, [_text(chars), rows])
        execute(
            url, "checkpoint", "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')"
        )
        async with running_ingest(url, TokenizingDevice()):
            # From a tenth on: before, the size of claims is still adapting.
            began, first = await _until_embedded(url, rows // 10)
            ended, last = await _until_embedded(url, rows)
        return (last - first) / (ended - began)


async def _query_latencies(server: Server, queries: int) -> tuple[float, float]:
    """p95 in ms, when idle and beside rows of 100 MB."""
    with scratch_database(server) as url:
        _make_table(url)
        execute(url, "select sidecar.watch('docs', source => 'body', target => 'embedding', index => 'none')")
        async with running_ingest(url, TokenizingDevice()) as embedder:
            idle = await _query(embedder, queries, None)
            large = asyncio.create_task(_insert_large(url), name="large")
            beside = await _query(embedder, queries, large)
            await large
        return percentile(idle, 0.95), percentile(beside, 0.95)


async def _query(embedder: Embedder, queries: int, until: asyncio.Task[None] | None) -> list[float]:
    """Latencies in ms of a number of queries, or of all that fit in before `until` is done."""
    took_ms: list[float] = []
    while len(took_ms) < queries if until is None else not until.done():
        await asyncio.sleep(random.uniform(0.02, 0.06))
        began = time.perf_counter()
        await embedder.embed_texts([f"a photo of {random.random()}"], Lane.QUERY)
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


async def _insert_large(url: str) -> None:
    """Insert three rows of 100 MB, one after another."""
    text = _text(1_000_000)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for number in range(1, 4):
            query = b"insert into docs (body) select repeat(%s, %s)"
            await connection.execute(query, [f"{number} {text}", LARGE_CHARS // len(text)])
            await _until_embedded(url, number)


async def _until_embedded(url: str, rows: int) -> tuple[float, int]:
    """Wait until that many rows are embedded; the time and the number of embedded rows then."""
    done = 0
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def are_embedded() -> bool:
            nonlocal done
            [(done,)] = await (await connection.execute("select count(embedding) from docs")).fetchall()
            return bool(done >= rows)

        await wait_until_async(are_embedded, f"{rows} rows", timeout_s=300)
    return time.perf_counter(), done


def _make_table(url: str) -> None:
    execute(url, "create table docs (id bigint generated always as identity primary key, body text)")


def _text(chars: int) -> str:
    return " ".join(random.Random(chars).choices(WORDS, k=chars // 3))[:chars]
