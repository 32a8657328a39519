"""recall@10 of vectors that are stored as `halfvec`, against `vector`: exact, and through HNSW."""

from __future__ import annotations

from dataclasses import dataclass, replace

import asyncpg
import numpy as np
from numpy.typing import NDArray

from benchmarks.figure import Figure, of_rounds
from benchmarks.scratch import DIMENSIONS, scratch_database
from sidecar.demo.emoji import read_emoji
from sidecar.postgres.vectors import NUMBER_BYTES, Storage, pack_vectors, register_vector
from tests.servers import Server

K = 10
EF_SEARCH = (40, 200)


@dataclass(frozen=True, slots=True)
class Space:
    """Vectors to find, and vectors to look for, both of length 1."""

    name: str
    rows: NDArray[np.float32]
    queries: NDArray[np.float32]


async def measure_recall(server: Server, rows: int, queries: int, rounds: int) -> list[Figure]:
    """For each space the recall of both storages, and what halfvec loses."""
    figures = []
    with scratch_database(server) as url:
        connection = await asyncpg.connect(url)
        try:
            await register_vector(connection)
            await connection.execute("set maintenance_work_mem = '512MB'; set max_parallel_workers_per_gather = 0")
            for space in (
                clustered(rows, queries, spread=0.7),
                clustered(rows, queries, spread=0.3),
                _demo(queries // 2),
            ):
                figures += await _measure(connection, space, rounds)
        finally:
            await connection.close()
    return figures


def clustered(rows: int, queries: int, spread: float, clusters: int = 100) -> Space:
    """Points around random centres on the unit sphere; `spread` is their distance from the centre."""
    random = np.random.default_rng(0)
    centres = _unit(random.standard_normal((clusters, DIMENSIONS)))
    around = spread * random.standard_normal((rows + queries, DIMENSIONS)) / DIMENSIONS**0.5
    points = _unit(centres[random.integers(0, clusters, rows + queries)] + around)
    return Space(f"{rows:,} clustered vectors, spread {spread}", points[:rows], points[rows:])


def _demo(queries: int) -> Space:
    """The demo's model on the names and keywords of the demo's emoji."""
    from tests.semantic.demo_model import DemoModel, load_demo_encoder  # which import torch

    texts = sorted({text for emoji in read_emoji() for text in (emoji.name, *emoji.keywords)})
    vectors = DemoModel(load_demo_encoder()).embed_texts(texts)
    _, first = np.unique(vectors, axis=0, return_index=True)
    vectors = np.random.default_rng(0).permutation(vectors[first])
    return Space(f"{len(vectors) - queries:,} texts of the demo's model", vectors[queries:], vectors[:queries])


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


async def _measure(connection: asyncpg.Connection, space: Space, rounds: int) -> list[Figure]:
    nearest = np.argsort(-(space.queries.astype(np.float64) @ space.rows.astype(np.float64).T), axis=1)[:, :K]
    found: dict[str, dict[Storage, list[float]]] = {
        how: {storage: [] for storage in NUMBER_BYTES}
        for how in ("exact", *(f"HNSW, ef_search {ef}" for ef in EF_SEARCH))
    }
    for storage in NUMBER_BYTES:
        await _fill(connection, space, storage)
        queries = pack_vectors(list(space.queries), storage)
        order = f"embedding <=> $1::{storage}({DIMENSIONS})"
        found["exact"][storage].append(await _recall(connection, storage, order, queries, nearest))
    halves = pack_vectors(list(space.queries), "halfvec")
    for _ in range(rounds):
        for storage in NUMBER_BYTES:
            column = "embedding" if storage == "halfvec" else f"embedding::halfvec({DIMENSIONS})"
            await connection.execute(
                f"create index recall_hnsw on recall_{storage} using hnsw (({column}) halfvec_cosine_ops)"
            )
            for ef in EF_SEARCH:
                await connection.execute(f"set hnsw.ef_search = {ef}")
                order = f"{column} <=> $1::halfvec({DIMENSIONS})"
                share = await _recall(connection, storage, order, halves[::2], nearest[::2])
                found[f"HNSW, ef_search {ef}"][storage].append(share)
            await connection.execute("drop index recall_hnsw")
    for storage in NUMBER_BYTES:
        await connection.execute(f"drop table recall_{storage}")
    return [figure for how, of in found.items() for figure in _describe(f"recall@10, {space.name}, {how}", of)]


def _describe(title: str, found: dict[Storage, list[float]]) -> list[Figure]:
    """Each HNSW index is another graph: its recall varies from round to round. An exact search does not."""
    vector, halfvec = found["vector"], found["halfvec"]
    lost = [one - other for one, other in zip(vector, halfvec, strict=True)]
    figures = [
        replace(of_rounds(f"{title}, vector", vector, "of the nearest", is_baseline=True), is_detail=True),
        replace(of_rounds(f"{title}, halfvec", halfvec, "of the nearest"), is_detail=True),
        of_rounds(f"{title}, lost by halfvec", lost, "of the nearest", "<= 0.001"),
    ]
    return [replace(figure, rounds=()) if len(vector) == 1 else figure for figure in figures]


async def _fill(connection: asyncpg.Connection, space: Space, storage: Storage) -> None:
    await connection.execute(f"create table recall_{storage} (id bigint, embedding {storage}({DIMENSIONS}))")
    packed = pack_vectors(list(space.rows), storage)
    for begin in range(0, len(packed), 1000):
        await connection.execute(
            f"insert into recall_{storage} select u.id, u.v from unnest($1::{storage}[], $2::bigint[]) u(v, id)",
            packed[begin : begin + 1000],
            list(range(begin, min(begin + 1000, len(packed)))),
        )
    await connection.execute(f"analyze recall_{storage}")


async def _recall(
    connection: asyncpg.Connection, storage: Storage, order: str, queries: list[bytes], nearest: NDArray[np.int64]
) -> float:
    """The share of the nearest rows that a search returns."""
    hits = 0
    for query, expected in zip(queries, nearest, strict=True):
        rows = await connection.fetch(f"select id from recall_{storage} order by {order} limit {K}", query)
        hits += len({row["id"] for row in rows} & set(expected.tolist()))
    return hits / nearest.size
